// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXAuditAnchor} from "../../src/FXAuditAnchor.sol";
import {FXClaimsTopicRegistry} from "../../src/FXClaimsTopicRegistry.sol";
import {FXIdentityRegistry} from "../../src/FXIdentityRegistry.sol";
import {FXReceivableToken} from "../../src/FXReceivableToken.sol";
import {FXTrustedIssuersRegistry} from "../../src/FXTrustedIssuersRegistry.sol";
import {AgentRole} from "../../src/access/AgentRole.sol";
import {Owned} from "../../src/access/Owned.sol";
import {LockupRule} from "../../src/rules/LockupRule.sol";
import {SanctionsRule} from "../../src/rules/SanctionsRule.sol";
import {Lemmas} from "./Lemmas.sol";
import {AnyCompliance} from "./TokenLemmas.t.sol";

/// @notice Who lacks a role calls in vain: every function that writes, of every contract, with any arguments and in any
/// state. A function belongs to the owner unless it is named here, so one that is added without a guard is found.
contract RoleLemmas is Lemmas {
    FXReceivableToken private token;
    FXIdentityRegistry private registry;
    FXTrustedIssuersRegistry private issuers;
    FXClaimsTopicRegistry private topics;
    LockupRule private lockup;
    SanctionsRule private sanctions;
    FXAuditAnchor private log;

    function setUp() public {
        token = new FXReceivableToken("", "", address(new AnyCompliance()), address(this), address(0), address(0));
        topics = new FXClaimsTopicRegistry();
        issuers = new FXTrustedIssuersRegistry(address(this));
        registry = new FXIdentityRegistry(address(topics), address(issuers), address(this), address(0));
        lockup = new LockupRule(address(this), address(0));
        sanctions = new SanctionsRule(1, address(this), address(0));
        log = new FXAuditAnchor(address(this), address(0));
        address[6] memory all =
            [address(token), address(registry), address(issuers), address(lockup), address(sanctions), address(log)];
        for (uint256 i = 0; i < all.length; ++i) {
            svm.enableSymbolicStorage(all[i]);
        }
    }

    /// @dev The rest of an Owned contract: what only the owner may do, and the acceptance of what is offered.
    function refusesWithoutOwner(address caller, address target, bytes memory data) private {
        if (bytes4(data) == Owned.acceptOwnership.selector) {
            vm.assume(caller != Owned(target).pendingOwner());
        } else {
            vm.assume(caller != Owned(target).owner());
        }
        assert(!call(caller, target, data));
    }

    function refusesWithoutAgentOrOwner(address caller, address target, bytes memory data, bytes4[] memory agents)
        private
    {
        if (!among(bytes4(data), agents)) return refusesWithoutOwner(caller, target, data);
        vm.assume(!AgentRole(target).isAgent(caller));
        assert(!call(caller, target, data));
    }

    function check_the_tokens_roles(address caller) external {
        bytes memory data = svm.createCalldata("FXReceivableToken");
        bytes4 selector = bytes4(data);
        bytes4[] memory holders = new bytes4[](4);
        holders[0] = token.setApprovalForAll.selector;
        holders[1] = token.safeTransferFrom.selector;
        holders[2] = token.safeBatchTransferFrom.selector;
        holders[3] = token.batchTransfer.selector;
        vm.assume(!among(selector, holders));
        bytes4[] memory minters = new bytes4[](4);
        minters[0] = token.issueReceivable.selector;
        minters[1] = token.createReceivable.selector;
        minters[2] = token.mint.selector;
        minters[3] = token.batchMint.selector;
        if (among(selector, minters)) {
            vm.assume(!token.isMinter(caller));
            assert(!call(caller, address(token), data));
            return;
        }
        bytes4[] memory agents = new bytes4[](15);
        agents[0] = token.burnReceivable.selector;
        agents[1] = token.pause.selector;
        agents[2] = token.unpause.selector;
        agents[3] = token.pauseToken.selector;
        agents[4] = token.unpauseToken.selector;
        agents[5] = token.setAddressFrozen.selector;
        agents[6] = token.batchSetAddressFrozen.selector;
        agents[7] = token.setFrozenTokens.selector;
        agents[8] = token.freezePartialTokens.selector;
        agents[9] = token.unfreezePartialTokens.selector;
        agents[10] = token.batchFreezePartialTokens.selector;
        agents[11] = token.batchUnfreezePartialTokens.selector;
        agents[12] = token.forcedTransfer.selector;
        agents[13] = token.batchForcedTransfer.selector;
        agents[14] = token.recoveryAddress.selector;
        refusesWithoutAgentOrOwner(caller, address(token), data, agents);
    }

    function check_the_identity_registrys_roles(address caller) external {
        bytes memory data = svm.createCalldata("FXIdentityRegistry");
        if (bytes4(data) == registry.issuerChanged.selector) {
            vm.assume(caller != registry.issuersRegistry());
            assert(!call(caller, address(registry), data));
            return;
        }
        bytes4[] memory agents = new bytes4[](6);
        agents[0] = registry.registerWallet.selector;
        agents[1] = registry.registerIdentity.selector;
        agents[2] = registry.batchRegisterIdentity.selector;
        agents[3] = registry.deleteIdentity.selector;
        agents[4] = registry.updateCountry.selector;
        agents[5] = registry.updateIdentity.selector;
        refusesWithoutAgentOrOwner(caller, address(registry), data, agents);
    }

    function check_the_issuers_registrys_owner(address caller) external {
        refusesWithoutOwner(caller, address(issuers), svm.createCalldata("FXTrustedIssuersRegistry"));
    }

    function check_nobody_changes_the_topics(address caller, uint256 topic) external {
        assert(!call(caller, address(topics), abi.encodeCall(topics.addClaimTopic, (topic))));
        assert(!call(caller, address(topics), abi.encodeCall(topics.removeClaimTopic, (topic))));
    }

    function check_the_lockups_roles(address caller) external {
        bytes4[] memory agents = new bytes4[](1);
        agents[0] = lockup.setLock.selector;
        refusesWithoutAgentOrOwner(caller, address(lockup), svm.createCalldata("LockupRule"), agents);
    }

    function check_the_sanctions_roles(address caller) external {
        bytes4[] memory agents = new bytes4[](2);
        agents[0] = sanctions.refresh.selector;
        agents[1] = sanctions.setFlagged.selector;
        refusesWithoutAgentOrOwner(caller, address(sanctions), svm.createCalldata("SanctionsRule"), agents);
    }

    function check_the_anchors_roles(address caller) external {
        bytes memory data = svm.createCalldata("FXAuditAnchor");
        if (bytes4(data) != log.anchor.selector) return refusesWithoutOwner(caller, address(log), data);
        vm.assume(caller != log.anchorer());
        assert(!call(caller, address(log), data));
    }
}

/// @notice After any anchor, and whatever stands of those before it.
contract AnchorLemmas is Lemmas {
    FXAuditAnchor private log;

    function setUp() public {
        log = new FXAuditAnchor(address(this), address(this));
        svm.enableSymbolicStorage(address(log));
    }

    /// @dev Any function, called by anybody with any arguments.
    function check_an_anchor_never_changes(address caller, uint256 latest, uint256 size, bytes32 root, uint256 batchId)
        external
    {
        log.anchor(latest, size, root);
        vm.assume(batchId <= latest);
        (uint256 sizeBefore, bytes22 rootBefore, uint256 blockBefore) = log.anchors(batchId);
        call(caller, address(log), svm.createCalldata("FXAuditAnchor"));
        (uint256 sizeAfter, bytes22 rootAfter, uint256 blockAfter) = log.anchors(batchId);
        assert(sizeBefore == sizeAfter && rootBefore == rootAfter && blockBefore == blockAfter);
    }

    function check_a_later_anchor_covers_more(
        address caller,
        uint256 latest,
        uint256 size,
        bytes32 root,
        uint256 laterId,
        uint256 laterSize,
        bytes32 laterRoot
    ) external {
        log.anchor(latest, size, root);
        if (!call(caller, address(log), abi.encodeCall(log.anchor, (laterId, laterSize, laterRoot)))) return;
        assert(laterId > latest && laterSize > size && caller == log.anchorer());
        (uint256 keptId, uint256 keptSize, bytes32 keptRoot,) = log.latest();
        assert(keptId == laterId && keptSize == laterSize && keptRoot == laterRoot);
        (uint256 listedSize, bytes22 prefix,) = log.anchors(laterId);
        assert(listedSize == laterSize && prefix == bytes22(laterRoot));
    }

    function check_witness_a_later_anchor(address caller, uint256 laterId, uint256 laterSize, bytes32 laterRoot)
        external
    {
        log.anchor(5, 50, bytes32(uint256(1)));
        assert(!call(caller, address(log), abi.encodeCall(log.anchor, (laterId, laterSize, laterRoot))));
    }
}
