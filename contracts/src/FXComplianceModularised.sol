// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFXCompliance, ILockupRule, ISanctionsRule, IStatefulRule, IWalletStatus} from "./interfaces/IFinTokenX.sol";
import {JurisdictionRule} from "./rules/JurisdictionRule.sol";
import {MiFIDRule} from "./rules/MiFIDRule.sol";

/// @notice The master compliance contract. Asks the identity registry for both wallets, then the four rules, in this
/// order; the first refusal decides:
///
///   1  both wallets verified          "wallet not verified"
///   2  JurisdictionRule, receiver     "missing claim: KYC_VERIFIED" | "… AML_CLEARED" | "… JURISDICTION_UK"
///   3  MiFIDRule, receiver            "MiFID classification required"
///   4  LockupRule, token id           "token locked"
///   5  SanctionsRule, both            "sanctions"
///
/// A rule that is a function of the status word alone (2 and 3) is a library compiled in here; one that keeps a state
/// of its own (4 and 5) is a contract, which outlives this one. The parts are fixed at deployment, which saves a storage
/// read for each of them on every transfer. To change a rule, deploy another compliance contract and set it on the token.
contract FXComplianceModularised is IFXCompliance {
    /// @notice A rule by its name, and the contract that holds its code.
    struct Rule {
        string name;
        address code;
    }

    IWalletStatus private immutable _registry;
    ILockupRule private immutable _lockupRule;
    ISanctionsRule private immutable _sanctionsRule;

    bytes32 private constant OK = "ok";
    bytes32 private constant NOT_VERIFIED = "wallet not verified";
    bytes32 private constant LOCKED = "token locked";
    bytes32 private constant SANCTIONS = "sanctions";

    error WrongRule(address rule, string expected);
    error NotAnIdentityRegistry(address account);

    constructor(address identityRegistry_, address lockupRule, address sanctionsRule) {
        if (identityRegistry_.code.length == 0) revert NotAnIdentityRegistry(identityRegistry_);
        _registry = IWalletStatus(identityRegistry_);
        _lockupRule = ILockupRule(_named(lockupRule, "LockupRule"));
        _sanctionsRule = ISanctionsRule(_named(sanctionsRule, "SanctionsRule"));
    }

    /// @notice Whether the rules let this transfer pass, and why not. Pauses, freezes and balances are the token's.
    function canTransfer(address from, address to, uint256 id, uint256) external view returns (bool, bytes32) {
        (uint256 fromStatus, uint256 toStatus) = _registry.liveStatuses(from, to);
        if (fromStatus == 0) return (false, NOT_VERIFIED);
        bytes32 reason = _refusalOfReceiver(toStatus);
        if (reason != 0) return (false, reason);
        if (_lockupRule.isLocked(id)) return (false, LOCKED);
        return _sanctionsRule.refuses(from, to) ? (false, SANCTIONS) : (true, OK);
    }

    /// @notice Whether canTransfer lets all of these pass: registry and rules are asked once each, not once a transfer.
    function allowsBatch(address from, address[] calldata tos, uint256[] calldata ids, uint256[] calldata)
        external
        view
        returns (bool)
    {
        (uint256 fromStatus, uint256[] memory toStatuses) = _registry.liveStatusesOfBatch(from, tos);
        if (fromStatus == 0) return false;
        for (uint256 i = 0; i < toStatuses.length; ++i) {
            if (_refusalOfReceiver(toStatuses[i]) != 0) return false;
        }
        return !_lockupRule.isAnyLocked(ids) && !_sanctionsRule.refusesAny(from, tos);
    }

    /// @notice Whether the account may send at all: rules 1 and 5.
    function canSend(address account) external view returns (bool, bytes32) {
        (uint256 status,) = _registry.liveStatuses(account, account);
        if (status == 0) return (false, NOT_VERIFIED);
        return _sanctionsRule.refuses(account, account) ? (false, SANCTIONS) : (true, OK);
    }

    /// @notice Whether the account may receive at all: rules 1, 2, 3 and 5.
    function canReceive(address account) external view returns (bool, bytes32) {
        (, uint256 status) = _registry.liveStatuses(account, account);
        bytes32 reason = _refusalOfReceiver(status);
        if (reason != 0) return (false, reason);
        return _sanctionsRule.refuses(account, account) ? (false, SANCTIONS) : (true, OK);
    }

    function identityRegistry() external view returns (address) {
        return address(_registry);
    }

    /// @return rules the four rules in the order in which they are asked.
    function getRules() external view returns (Rule[] memory rules) {
        rules = new Rule[](4);
        rules[0] = Rule(JurisdictionRule.NAME, address(this));
        rules[1] = Rule(MiFIDRule.NAME, address(this));
        rules[2] = Rule(_lockupRule.name(), address(_lockupRule));
        rules[3] = Rule(_sanctionsRule.name(), address(_sanctionsRule));
    }

    /// @param status of the receiver, zero when it is not verified.
    /// @return What rules 1 to 3 have against it, zero for nothing.
    function _refusalOfReceiver(uint256 status) private pure returns (bytes32) {
        if (status == 0) return NOT_VERIFIED;
        bytes32 reason = JurisdictionRule.refusal(status);
        return reason == 0 ? MiFIDRule.refusal(status) : reason;
    }

    /// @dev Two swapped rules would ask the wrong questions in silence; the names catch it at deployment.
    function _named(address rule, string memory expected) private view returns (address) {
        if (rule.code.length == 0 || keccak256(bytes(IStatefulRule(rule).name())) != keccak256(bytes(expected))) {
            revert WrongRule(rule, expected);
        }
        return rule;
    }
}
