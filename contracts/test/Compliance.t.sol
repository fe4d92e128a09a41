// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../src/Claims.sol";
import {FXComplianceModularised} from "../src/FXComplianceModularised.sol";
import {AgentRole} from "../src/access/AgentRole.sol";
import {SanctionsRule} from "../src/rules/SanctionsRule.sol";
import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {FXTest} from "./FXTest.sol";

contract ComplianceTest is FXTest {
    uint256 private constant LOCKED = 2;

    function test_the_four_rules_are_listed_in_order_by_name() public view {
        FXComplianceModularised.Rule[] memory rules = compliance.getRules();
        same(rules.length, 4);
        ruleIs(rules[0], "JurisdictionRule", address(compliance));
        ruleIs(rules[1], "MiFIDRule", address(compliance));
        ruleIs(rules[2], "LockupRule", address(lockup));
        ruleIs(rules[3], "SanctionsRule", address(sanctions));
        same(compliance.identityRegistry(), address(registry));
    }

    function test_rules_in_the_wrong_place_are_refused() public {
        try new FXComplianceModularised(address(registry), address(sanctions), address(lockup)) {
            isTrue(false);
        } catch (bytes memory reason) {
            same(bytes4(reason), FXComplianceModularised.WrongRule.selector);
        }
        try new FXComplianceModularised(STRANGER, address(lockup), address(sanctions)) {
            isTrue(false);
        } catch (bytes memory reason) {
            same(bytes4(reason), FXComplianceModularised.NotAnIdentityRegistry.selector);
        }
    }

    function ruleIs(FXComplianceModularised.Rule memory rule, string memory name, address code) private pure {
        same(keccak256(bytes(rule.name)), keccak256(bytes(name)));
        same(rule.code, code);
    }

    function test_a_transfer_between_verified_wallets_is_ok() public view {
        reasonIs(MINTING, ALICE, ID, "ok");
        reasonIs(ALICE, BOB, ID, "ok");
    }

    function test_either_wallet_not_verified() public view {
        reasonIs(STRANGER, ALICE, ID, "wallet not verified");
        reasonIs(ALICE, STRANGER, ID, "wallet not verified");
    }

    function test_each_missing_claim_is_named_in_order() public {
        register(ALICE, Claims.MIFID_ECP, true);
        reasonIs(MINTING, ALICE, ID, "missing claim: KYC_VERIFIED");
        register(ALICE, Claims.KYC_VERIFIED, true);
        reasonIs(MINTING, ALICE, ID, "missing claim: AML_CLEARED");
        register(ALICE, Claims.KYC_VERIFIED | Claims.AML_CLEARED, true);
        reasonIs(MINTING, ALICE, ID, "missing claim: JURISDICTION_UK");
    }

    function test_an_investor_needs_a_mifid_class_and_others_do_not() public {
        register(ALICE, BASE, true);
        reasonIs(MINTING, ALICE, ID, "MiFID classification required");
        register(ALICE, BASE, false);
        reasonIs(MINTING, ALICE, ID, "ok");
        register(ALICE, BASE | Claims.MIFID_ECP, true);
        reasonIs(MINTING, ALICE, ID, "ok");
    }

    function test_a_lock_holds_until_its_time() public {
        lockup.setLock(ID, uint64(NOW + 10));
        isTrue(lockup.isLocked(ID));
        reasonIs(MINTING, ALICE, ID, "token locked");
        reasonIs(MINTING, ALICE, LOCKED, "ok");
        vm.warp(NOW + 10);
        reasonIs(MINTING, ALICE, ID, "ok");
        lockup.setLock(ID, type(uint64).max);
        reasonIs(MINTING, ALICE, ID, "token locked");
        lockup.setLock(ID, 0);
        reasonIs(MINTING, ALICE, ID, "ok");
    }

    function test_a_flag_on_either_side_refuses() public {
        sanctions.setFlagged(ALICE, true);
        reasonIs(MINTING, ALICE, ID, "sanctions");
        reasonIs(ALICE, BOB, ID, "sanctions");
        sanctions.setFlagged(ALICE, false);
        reasonIs(MINTING, ALICE, ID, "ok");
    }

    function test_a_stale_list_refuses_everything_until_refreshed() public {
        vm.warp(NOW + MAX_AGE);
        reasonIs(MINTING, ALICE, ID, "ok");
        vm.warp(NOW + MAX_AGE + 1);
        isTrue(sanctions.isStale());
        reasonIs(MINTING, ALICE, ID, "sanctions");
        sanctions.setFlagged(BOB, false);
        reasonIs(MINTING, ALICE, ID, "sanctions");
        sanctions.refresh(uint64(block.timestamp));
        reasonIs(MINTING, ALICE, ID, "ok");
    }

    function test_a_confirmation_that_is_mined_late_is_as_old_as_its_screening() public {
        uint64 screened = uint64(NOW) + 10;
        vm.warp(screened + MAX_AGE + 1);
        sanctions.refresh(screened);
        same(sanctions.updatedAt(), screened);
        reasonIs(MINTING, ALICE, ID, "sanctions");
    }

    function test_an_older_confirmation_than_the_last_changes_nothing() public {
        vm.warp(NOW + 20);
        sanctions.refresh(uint64(NOW) + 20);
        sanctions.refresh(uint64(NOW) + 10);
        same(sanctions.updatedAt(), uint64(NOW) + 20);
    }

    function test_nobody_confirms_the_list_as_of_a_moment_to_come() public {
        uint64 soon = uint64(block.timestamp) + 1;
        bytes memory tooSoon = abi.encodeWithSelector(SanctionsRule.AsOfInFuture.selector, soon);
        refused(address(this), address(sanctions), abi.encodeCall(sanctions.refresh, (soon)), tooSoon);
        sanctions.refresh(soon - 1);
    }

    function test_a_list_never_confirmed_refuses_everything() public {
        SanctionsRule unset = new SanctionsRule(MAX_AGE, address(this), address(0));
        same(unset.updatedAt(), 0);
        isTrue(unset.isStale());
        isTrue(unset.refuses(ALICE, BOB));
    }

    function test_a_rule_without_maximum_age_is_not_deployed() public {
        try new SanctionsRule(0, address(this), address(this)) {
            isTrue(false);
        } catch (bytes memory reason) {
            same(bytes4(reason), SanctionsRule.ZeroMaxAge.selector);
        }
    }

    function test_only_agents_operate_the_rules() public {
        bytes memory denied = abi.encodeWithSelector(AgentRole.NotAgent.selector, STRANGER);
        refused(STRANGER, address(lockup), abi.encodeCall(lockup.setLock, (ID, 1)), denied);
        refused(STRANGER, address(sanctions), abi.encodeCall(sanctions.refresh, (1)), denied);
        refused(STRANGER, address(sanctions), abi.encodeCall(sanctions.setFlagged, (ALICE, true)), denied);
    }

    function test_sending_and_receiving_at_all() public {
        verdictIs(compliance.canSend, MINTING, "ok");
        verdictIs(compliance.canReceive, MINTING, "ok");
        verdictIs(compliance.canSend, STRANGER, "wallet not verified");
        verdictIs(compliance.canReceive, STRANGER, "wallet not verified");
        register(ALICE, Claims.MIFID_ECP, true);
        verdictIs(compliance.canSend, ALICE, "ok");
        verdictIs(compliance.canReceive, ALICE, "missing claim: KYC_VERIFIED");
        register(ALICE, BASE, true);
        verdictIs(compliance.canReceive, ALICE, "MiFID classification required");
        sanctions.setFlagged(BOB, true);
        verdictIs(compliance.canSend, BOB, "sanctions");
        verdictIs(compliance.canReceive, BOB, "sanctions");
    }

    /// @dev All 32 claim bitmaps x investor or not x sender known x receiver live x lock x both flags x stale list.
    function test_the_first_failing_rule_decides_in_every_combination() public {
        lockup.setLock(LOCKED, type(uint64).max);
        FXComplianceModularised stale = new FXComplianceModularised(
            address(registry), address(lockup), address(new SanctionsRule(MAX_AGE, address(this), address(this)))
        );
        address flagged = address(0xF1A6);
        register(flagged, LENDER, true);
        sanctions.setFlagged(flagged, true);
        uint256 cases;
        for (uint256 shape = 0; shape < 256; ++shape) {
            address to = receiver(shape);
            for (uint256 rest = 0; rest < 16; ++rest) {
                address from = rest & 1 == 0 ? STRANGER : rest & 2 == 0 ? MINTING : flagged;
                uint256 id = rest & 4 == 0 ? ID : LOCKED;
                FXComplianceModularised asked = rest & 8 == 0 ? compliance : stale;
                (bool allowed, bytes32 told) = asked.canTransfer(from, to, id, 1);
                bytes32 expected = expectation(shape, rest);
                same(told, expected);
                isTrue(allowed == (expected == "ok"));
                isTrue(asked.allowsBatch(from, one(to), one(id), one(uint256(1))) == allowed);
                ++cases;
            }
        }
        same(cases, 4096);
    }

    /// @dev Three transfers in one batch: the batch passes exactly when each of them does, and is refused for the
    /// reason of the first that is refused by itself.
    function test_a_batch_is_refused_for_what_its_first_refused_transfer_is_refused_for(uint8[3] memory shapes) public {
        issue();
        address[] memory tos = new address[](3);
        uint256[] memory ids = new uint256[](3);
        uint256[] memory amounts = new uint256[](3);
        bytes32 first;
        for (uint256 i = 0; i < 3; ++i) {
            (ids[i], amounts[i]) = (ID, 1);
            // Half of the time a good receiver, or nearly every batch would be refused.
            tos[i] = shapes[i] % 2 == 0 ? receiver(128 | 15 | (i << 4)) : receiver(shapes[i]);
        }
        for (uint256 i = 0; i < 3 && first == 0; ++i) {
            (bool allowed, bytes32 reason) = token.canTransferReason(MINTING, tos[i], ID, 1);
            if (!allowed) first = reason;
        }
        isTrue(compliance.allowsBatch(MINTING, tos, ids, amounts) == (first == 0));
        vm.prank(MINTING);
        (bool success, bytes memory refusal) =
            address(token).call(abi.encodeCall(token.batchTransfer, (tos, ids, amounts)));
        isTrue(success == (first == 0));
        if (first != 0) {
            same(
                keccak256(refusal), keccak256(abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, first))
            );
        }
    }

    /// @dev Bits of shape: 0–4 claims, 5 investor, 6 flagged, 7 registered.
    function receiver(uint256 shape) private returns (address to) {
        to = address(uint160(0xE000 + shape));
        if (shape & 64 != 0) sanctions.setFlagged(to, true);
        if (shape & 128 != 0) register(to, uint32(shape & 31), shape & 32 != 0);
    }

    function expectation(uint256 shape, uint256 rest) private pure returns (bytes32) {
        bool receiverVerified = shape & 128 != 0 && shape & 31 != 0;
        bool senderVerified = rest & 1 != 0;
        if (!senderVerified || !receiverVerified) return "wallet not verified";
        if (shape & 1 == 0) return "missing claim: KYC_VERIFIED";
        if (shape & 2 == 0) return "missing claim: AML_CLEARED";
        if (shape & 4 == 0) return "missing claim: JURISDICTION_UK";
        if (shape & 32 != 0 && shape & 24 == 0) return "MiFID classification required";
        if (rest & 4 != 0) return "token locked";
        if (shape & 64 != 0 || rest & 2 != 0 || rest & 8 != 0) return "sanctions";
        return "ok";
    }

    function verdictIs(
        function(address) external view returns (bool, bytes32) question,
        address account,
        bytes32 expected
    ) private view {
        (bool allowed, bytes32 told) = question(account);
        same(told, expected);
        isTrue(allowed == (expected == "ok"));
    }
}
