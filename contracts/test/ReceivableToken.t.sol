// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {AgentRole} from "../src/access/AgentRole.sol";
import {Owned} from "../src/access/Owned.sol";
import {IERC1155} from "../src/interfaces/IERC1155.sol";
import {IERC7943MultiToken} from "../src/interfaces/IERC7943MultiToken.sol";
import {FXTest} from "./FXTest.sol";

/// @dev A compliance contract that answers when it is set and fails afterwards.
contract BrokenCompliance {
    address public identityRegistry;
    bool public broken;

    constructor(address registry) {
        identityRegistry = registry;
    }

    function breakDown() external {
        broken = true;
    }

    function canTransfer(address, address, uint256, uint256) external view returns (bool, bytes32) {
        require(!broken);
        return (true, "ok");
    }

    function canSend(address) external view returns (bool, bytes32) {
        require(!broken);
        return (true, "ok");
    }

    function canReceive(address) external view returns (bool, bytes32) {
        require(!broken);
        return (true, "ok");
    }
}

contract ReceivableTokenTest is FXTest {
    bytes32 private constant BURN_REASON = "settled";

    function asOwnerRefused(bytes memory data, bytes memory expected) private {
        refused(address(this), address(token), data, expected);
    }

    // --- issuing ---

    function test_issuing_records_the_receivable_and_mints_its_face() public {
        vm.expectEmit(address(token));
        emit FXReceivableToken.ReceivableCreated(ID, FACE, DUE, DOCUMENT);
        vm.expectEmit(address(token));
        emit IERC1155.TransferSingle(address(this), address(0), MINTING, ID, FACE);
        issue();
        (uint256 face, uint256 supply, uint64 dueAt, bytes32 documentHash, bool exists, bool burned) =
            token.receivableOf(ID);
        same(face, FACE);
        same(supply, FACE);
        same(dueAt, DUE);
        same(documentHash, DOCUMENT);
        isTrue(exists);
        isFalse(burned);
        same(token.balanceOf(MINTING, ID), FACE);
        same(token.totalSupply(ID), FACE);
    }

    function test_creating_and_minting_apart_never_exceeds_the_face() public {
        token.createReceivable(ID, FACE, DUE, DOCUMENT);
        same(token.totalSupply(ID), 0);
        token.mint(MINTING, ID, FACE - 1);
        asOwnerRefused(
            abi.encodeCall(token.mint, (MINTING, ID, 2)),
            abi.encodeWithSelector(FXReceivableToken.FaceExceeded.selector, ID, FACE, FACE - 1)
        );
        token.mint(MINTING, ID, 1);
        same(token.totalSupply(ID), FACE);
        asOwnerRefused(
            abi.encodeCall(token.mint, (MINTING, ID, type(uint256).max)),
            abi.encodeWithSelector(FXReceivableToken.FaceExceeded.selector, ID, FACE, FACE)
        );
    }

    function test_an_id_is_never_used_twice_even_after_its_burn() public {
        issue();
        bytes memory again = abi.encodeCall(token.issueReceivable, (MINTING, ID, FACE, DUE, DOCUMENT));
        bytes memory exists = abi.encodeWithSelector(FXReceivableToken.ReceivableExists.selector, ID);
        asOwnerRefused(again, exists);
        token.burnReceivable(ID, one(MINTING), BURN_REASON);
        asOwnerRefused(again, exists);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, FACE, DUE, DOCUMENT)), exists);
        asOwnerRefused(
            abi.encodeCall(token.mint, (MINTING, ID, 1)),
            abi.encodeWithSelector(FXReceivableToken.ReceivableAlreadyBurned.selector, ID)
        );
    }

    function test_invalid_receivables_are_refused() public {
        bytes memory invalid = abi.encodeWithSelector(FXReceivableToken.InvalidReceivable.selector, ID);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, 0, DUE, DOCUMENT)), invalid);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, 1 << 96, DUE, DOCUMENT)), invalid);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, FACE, 0, DOCUMENT)), invalid);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, FACE, 1 << 40, DOCUMENT)), invalid);
        asOwnerRefused(abi.encodeCall(token.createReceivable, (ID, FACE, DUE, 0)), invalid);
        asOwnerRefused(
            abi.encodeCall(token.mint, (MINTING, ID, 1)),
            abi.encodeWithSelector(FXReceivableToken.UnknownReceivable.selector, ID)
        );
        issue();
        asOwnerRefused(
            abi.encodeCall(token.mint, (MINTING, ID, 0)),
            abi.encodeWithSelector(FXReceivableToken.InvalidAmount.selector, 0)
        );
    }

    function test_minting_asks_whether_the_receiver_may_receive() public {
        token.createReceivable(ID, FACE, DUE, DOCUMENT);
        mintRefused(STRANGER, "wallet not verified");
        sanctions.setFlagged(MINTING, true);
        mintRefused(MINTING, "sanctions");
        sanctions.setFlagged(MINTING, false);
        token.setAddressFrozen(MINTING, true);
        mintRefused(MINTING, "address frozen");
        token.setAddressFrozen(MINTING, false);
        token.pauseToken(ID);
        mintRefused(MINTING, "token paused");
        token.pause();
        mintRefused(MINTING, "paused");
    }

    function mintRefused(address to, bytes32 reason) private {
        asOwnerRefused(
            abi.encodeCall(token.mint, (to, ID, 1)),
            abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, reason)
        );
    }

    function test_batch_mint_mints_all_or_nothing() public {
        token.createReceivable(ID, FACE, DUE, DOCUMENT);
        token.createReceivable(8, FACE, DUE, DOCUMENT);
        token.batchMint(two(MINTING, ALICE), two(ID, 8), two(5, 6));
        same(token.balanceOf(MINTING, ID), 5);
        same(token.balanceOf(ALICE, 8), 6);
        asOwnerRefused(
            abi.encodeCall(token.batchMint, (two(MINTING, ALICE), two(ID, 8), two(1, FACE))),
            abi.encodeWithSelector(FXReceivableToken.FaceExceeded.selector, 8, FACE, 6)
        );
        same(token.balanceOf(MINTING, ID), 5);
    }

    // --- holders' transfers ---

    function test_a_transfer_moves_exactly_the_amount() public {
        issue();
        vm.expectEmit(address(token));
        emit IERC1155.TransferSingle(MINTING, MINTING, ALICE, ID, 1000);
        give(ALICE, 1000);
        same(token.balanceOf(MINTING, ID), FACE - 1000);
        same(token.balanceOf(ALICE, ID), 1000);
        send(ALICE, ALICE, 1000);
        same(token.balanceOf(ALICE, ID), 1000);
        send(ALICE, BOB, 0);
        same(token.balanceOf(ALICE, ID), 1000);
    }

    function test_an_operator_needs_the_holders_approval() public {
        issue();
        bytes memory data = abi.encodeCall(token.safeTransferFrom, (MINTING, ALICE, ID, 1, ""));
        bytes memory denied = abi.encodeWithSelector(IERC1155.ERC1155MissingApprovalForAll.selector, STRANGER, MINTING);
        refused(STRANGER, address(token), data, denied);
        refused(
            STRANGER,
            address(token),
            abi.encodeCall(token.safeBatchTransferFrom, (MINTING, ALICE, one(ID), one(uint256(1)), "")),
            denied
        );
        vm.prank(MINTING);
        token.setApprovalForAll(STRANGER, true);
        isTrue(token.isApprovedForAll(MINTING, STRANGER));
        vm.prank(STRANGER);
        token.safeTransferFrom(MINTING, ALICE, ID, 1, "");
        same(token.balanceOf(ALICE, ID), 1);
        vm.prank(MINTING);
        token.setApprovalForAll(STRANGER, false);
        refused(STRANGER, address(token), data, denied);
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.setApprovalForAll, (address(0), true)),
            abi.encodeWithSelector(IERC1155.ERC1155InvalidOperator.selector, address(0))
        );
    }

    function test_more_than_the_balance_is_refused_but_not_by_canTransfer() public {
        issue();
        give(ALICE, 10);
        isTrue(token.canTransfer(ALICE, BOB, ID, 11));
        isTrue(token.canTransfer(ALICE, BOB, ID, type(uint256).max));
        refused(
            ALICE,
            address(token),
            abi.encodeCall(token.safeTransferFrom, (ALICE, BOB, ID, 11, "")),
            abi.encodeWithSelector(IERC1155.ERC1155InsufficientBalance.selector, ALICE, 10, 11, ID)
        );
    }

    function test_nothing_goes_to_the_zero_address() public {
        issue();
        bytes memory invalid = abi.encodeWithSelector(IERC1155.ERC1155InvalidReceiver.selector, address(0));
        refused(
            MINTING, address(token), abi.encodeCall(token.safeTransferFrom, (MINTING, address(0), ID, 1, "")), invalid
        );
        isFalse(token.canTransfer(MINTING, address(0), ID, 1));
    }

    function test_each_refusal_has_its_reason_in_order() public {
        transferRefused(MINTING, ALICE, 1, "unknown token");
        issue();
        sanctions.setFlagged(ALICE, true);
        lockup.setLock(ID, type(uint64).max);
        register(ALICE, 16, true);
        revoke(MINTING);
        token.setFrozenTokens(MINTING, ID, FACE);
        token.setAddressFrozen(ALICE, true);
        token.pauseToken(ID);
        token.pause();
        transferRefused(MINTING, ALICE, 1, "paused");
        token.unpause();
        transferRefused(MINTING, ALICE, 1, "token paused");
        token.unpauseToken(ID);
        transferRefused(MINTING, ALICE, 1, "address frozen");
        token.setAddressFrozen(ALICE, false);
        transferRefused(MINTING, ALICE, 1, "tokens frozen");
        token.setFrozenTokens(MINTING, ID, 0);
        transferRefused(MINTING, ALICE, 1, "wallet not verified");
        register(MINTING, BASE, false);
        transferRefused(MINTING, ALICE, 1, "missing claim: KYC_VERIFIED");
        register(ALICE, 1, true);
        transferRefused(MINTING, ALICE, 1, "missing claim: AML_CLEARED");
        register(ALICE, 3, true);
        transferRefused(MINTING, ALICE, 1, "missing claim: JURISDICTION_UK");
        register(ALICE, BASE, true);
        transferRefused(MINTING, ALICE, 1, "MiFID classification required");
        register(ALICE, LENDER, true);
        transferRefused(MINTING, ALICE, 1, "token locked");
        lockup.setLock(ID, 0);
        transferRefused(MINTING, ALICE, 1, "sanctions");
        sanctions.setFlagged(ALICE, false);
        (bool allowed, bytes32 reason) = token.canTransferReason(MINTING, ALICE, ID, 1);
        isTrue(allowed);
        same(reason, "ok");
        give(ALICE, 1);
        token.burnReceivable(ID, two(ALICE, MINTING), BURN_REASON);
        transferRefused(MINTING, ALICE, 0, "token burned");
    }

    function test_freezing_a_subject_stops_its_next_transfer_either_way() public {
        issue();
        give(ALICE, 10);
        revoke(ALICE);
        transferRefused(ALICE, BOB, 1, "wallet not verified");
        transferRefused(MINTING, ALICE, 1, "wallet not verified");
    }

    function test_expiry_and_removal_of_the_issuer_stop_the_next_transfer() public {
        issue();
        issuers.removeTrustedIssuer(vm.addr(ISSUER_KEY));
        transferRefused(MINTING, ALICE, 1, "wallet not verified");
        issuers.addTrustedIssuer(vm.addr(ISSUER_KEY), topics.getClaimTopics());
        register(MINTING, BASE, false);
        register(ALICE, LENDER, true);
        give(ALICE, 1);
        vm.warp(EXPIRY);
        sanctions.refresh(uint64(block.timestamp));
        transferRefused(MINTING, ALICE, 1, "wallet not verified");
    }

    function test_a_pause_of_one_id_leaves_the_others() public {
        issue();
        token.issueReceivable(MINTING, 8, FACE, DUE, DOCUMENT);
        token.pauseToken(ID);
        isTrue(token.tokenPaused(ID));
        isFalse(token.tokenPaused(8));
        isFalse(token.canTransfer(MINTING, ALICE, ID, 1));
        isTrue(token.canTransfer(MINTING, ALICE, 8, 1));
    }

    function test_batches_move_all_or_nothing() public {
        issue();
        token.issueReceivable(MINTING, 8, FACE, DUE, DOCUMENT);
        vm.prank(MINTING);
        token.safeBatchTransferFrom(MINTING, ALICE, two(ID, 8), two(5, 6), "");
        same(token.balanceOf(ALICE, ID), 5);
        same(token.balanceOf(ALICE, 8), 6);
        vm.prank(MINTING);
        token.batchTransfer(two(ALICE, BOB), two(ID, 8), two(1, 2));
        same(token.balanceOf(ALICE, ID), 6);
        same(token.balanceOf(BOB, 8), 2);
        uint256[] memory balances = token.balanceOfBatch(two(ALICE, BOB), two(ID, 8));
        same(balances[0], 6);
        same(balances[1], 2);
        lockup.setLock(8, type(uint64).max);
        bytes memory locked =
            abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, bytes32("token locked"));
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.safeBatchTransferFrom, (MINTING, ALICE, two(ID, 8), two(1, 1), "")),
            locked
        );
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.batchTransfer, (two(ALICE, BOB), two(ID, 8), two(1, 1))),
            locked
        );
        same(token.balanceOf(ALICE, ID), 6);
    }

    function test_a_batch_names_the_tokens_own_refusal_and_moves_nothing() public {
        issue();
        give(ALICE, 10);
        token.setFrozenTokens(ALICE, ID, 8);
        bytes memory frozen =
            abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, bytes32("tokens frozen"));
        refused(
            ALICE,
            address(token),
            abi.encodeCall(token.batchTransfer, (two(BOB, MINTING), two(ID, ID), two(2, 1))),
            frozen
        );
        same(token.balanceOf(ALICE, ID), 10);
        vm.prank(ALICE);
        token.batchTransfer(two(BOB, MINTING), two(ID, ID), two(1, 1));
        same(token.balanceOf(ALICE, ID), 8);
    }

    function test_a_batch_to_the_zero_address_is_refused_whole() public {
        issue();
        bytes memory invalid = abi.encodeWithSelector(IERC1155.ERC1155InvalidReceiver.selector, address(0));
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.batchTransfer, (two(ALICE, address(0)), two(ID, ID), two(1, 1))),
            invalid
        );
        // By the slower way, one by one, too.
        lockup.setLock(ID, type(uint64).max);
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.batchTransfer, (one(address(0)), one(ID), one(uint256(1)))),
            invalid
        );
        same(token.balanceOf(ALICE, ID), 0);
    }

    function test_a_batch_survives_rules_that_cannot_answer_for_many() public {
        issue();
        // It has no allowsBatch at all: then each transfer is asked for by itself.
        BrokenCompliance other = new BrokenCompliance(address(registry));
        token.setCompliance(address(other));
        vm.prank(MINTING);
        token.batchTransfer(two(ALICE, BOB), two(ID, ID), two(3, 4));
        same(token.balanceOf(ALICE, ID), 3);
        same(token.balanceOf(BOB, ID), 4);
        other.breakDown();
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.batchTransfer, (one(ALICE), one(ID), one(uint256(1)))),
            abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, bytes32("compliance unavailable"))
        );
    }

    function test_a_batch_cannot_spend_the_same_balance_twice() public {
        issue();
        give(ALICE, 10);
        refused(
            ALICE,
            address(token),
            abi.encodeCall(token.safeBatchTransferFrom, (ALICE, BOB, two(ID, ID), two(6, 6), "")),
            abi.encodeWithSelector(IERC1155.ERC1155InsufficientBalance.selector, ALICE, 4, 6, ID)
        );
    }

    function test_every_batch_checks_its_lengths() public {
        issue();
        bytes memory mismatch = abi.encodeWithSelector(FXReceivableToken.LengthMismatch.selector);
        address[] memory a1 = one(MINTING);
        uint256[] memory u1 = one(ID);
        uint256[] memory u2 = two(1, 1);
        asOwnerRefused(abi.encodeCall(token.batchMint, (a1, u1, u2)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchMint, (a1, u2, u1)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchTransfer, (a1, u1, u2)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchTransfer, (a1, u2, u1)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchFreezePartialTokens, (a1, u1, u2)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchUnfreezePartialTokens, (a1, u1, u2)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchForcedTransfer, (a1, a1, u1, u2)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchForcedTransfer, (a1, two(ALICE, BOB), u1, u1)), mismatch);
        asOwnerRefused(abi.encodeCall(token.batchSetAddressFrozen, (a1, new bool[](2))), mismatch);
        bytes memory invalid = abi.encodeWithSelector(IERC1155.ERC1155InvalidArrayLength.selector, 1, 2);
        refused(
            MINTING, address(token), abi.encodeCall(token.safeBatchTransferFrom, (MINTING, ALICE, u1, u2, "")), invalid
        );
        asOwnerRefused(abi.encodeCall(token.balanceOfBatch, (two(ALICE, BOB), u1)), invalid);
    }

    // --- freezing ---

    function test_frozen_tokens_stay_and_the_rest_moves() public {
        issue();
        give(ALICE, 100);
        token.freezePartialTokens(ALICE, ID, 60);
        same(token.getFrozenTokens(ALICE, ID), 60);
        transferRefused(ALICE, BOB, 41, "tokens frozen");
        send(ALICE, BOB, 40);
        token.unfreezePartialTokens(ALICE, ID, 10);
        send(ALICE, BOB, 10);
        same(token.getFrozenTokens(ALICE, ID), 50);
        same(token.balanceOf(ALICE, ID), 50);
        transferRefused(ALICE, BOB, 1, "tokens frozen");
    }

    function test_the_frozen_amount_may_exceed_the_balance_and_covers_what_comes_in() public {
        issue();
        vm.expectEmit(address(token));
        emit IERC7943MultiToken.Frozen(ALICE, ID, 500);
        isTrue(token.setFrozenTokens(ALICE, ID, 500));
        give(ALICE, 600);
        transferRefused(ALICE, BOB, 101, "tokens frozen");
        send(ALICE, BOB, 100);
        token.setFrozenTokens(ALICE, ID, 0);
        send(ALICE, BOB, 500);
        asOwnerRefused(
            abi.encodeCall(token.setFrozenTokens, (ALICE, ID, 1 << 128)),
            abi.encodeWithSelector(FXReceivableToken.InvalidAmount.selector, 1 << 128)
        );
    }

    function test_partial_freezes_stay_within_what_is_there() public {
        issue();
        give(ALICE, 100);
        asOwnerRefused(
            abi.encodeCall(token.freezePartialTokens, (ALICE, ID, 101)),
            abi.encodeWithSelector(IERC7943MultiToken.ERC7943InsufficientUnfrozenBalance.selector, ALICE, ID, 101, 100)
        );
        token.batchFreezePartialTokens(two(ALICE, MINTING), two(ID, ID), two(70, 1));
        same(token.getFrozenTokens(MINTING, ID), 1);
        asOwnerRefused(
            abi.encodeCall(token.unfreezePartialTokens, (ALICE, ID, 71)),
            abi.encodeWithSelector(FXReceivableToken.InvalidAmount.selector, 71)
        );
        token.batchUnfreezePartialTokens(two(ALICE, MINTING), two(ID, ID), two(70, 1));
        same(token.getFrozenTokens(ALICE, ID), 0);
    }

    function test_a_frozen_wallet_neither_sends_nor_receives() public {
        issue();
        give(ALICE, 10);
        token.setAddressFrozen(ALICE, true);
        isTrue(token.isFrozen(ALICE));
        isFalse(token.canSend(ALICE));
        isFalse(token.canReceive(ALICE));
        transferRefused(ALICE, BOB, 1, "address frozen");
        transferRefused(MINTING, ALICE, 1, "address frozen");
        token.batchSetAddressFrozen(two(ALICE, BOB), new bool[](2));
        isTrue(token.canSend(ALICE));
        send(ALICE, BOB, 1);
    }

    // --- roles, compliance, interfaces ---

    function test_only_the_minter_mints() public {
        bytes memory denied = abi.encodeWithSelector(FXReceivableToken.NotMinter.selector, STRANGER);
        bytes[4] memory calls = [
            abi.encodeCall(token.issueReceivable, (MINTING, ID, FACE, DUE, DOCUMENT)),
            abi.encodeCall(token.createReceivable, (ID, FACE, DUE, DOCUMENT)),
            abi.encodeCall(token.mint, (MINTING, ID, 1)),
            abi.encodeCall(token.batchMint, (one(MINTING), one(ID), one(uint256(1))))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            refused(STRANGER, address(token), calls[i], denied);
        }
        token.removeMinter(address(this));
        asOwnerRefused(calls[0], abi.encodeWithSelector(FXReceivableToken.NotMinter.selector, address(this)));
        token.addMinter(ALICE);
        isTrue(token.isMinter(ALICE));
        vm.prank(ALICE);
        token.issueReceivable(MINTING, ID, FACE, DUE, DOCUMENT);
        asOwnerRefused(
            abi.encodeCall(token.removeMinter, (BOB)), abi.encodeWithSelector(FXReceivableToken.NotMinter.selector, BOB)
        );
        asOwnerRefused(
            abi.encodeCall(token.addMinter, (address(0))), abi.encodeWithSelector(Owned.ZeroAddress.selector)
        );
    }

    function test_only_the_agent_administers() public {
        bytes memory denied = abi.encodeWithSelector(AgentRole.NotAgent.selector, STRANGER);
        address[] memory a = one(ALICE);
        uint256[] memory u = one(ID);
        bytes[15] memory calls = [
            abi.encodeCall(token.burnReceivable, (ID, a, BURN_REASON)),
            abi.encodeCall(token.pause, ()),
            abi.encodeCall(token.unpause, ()),
            abi.encodeCall(token.pauseToken, (ID)),
            abi.encodeCall(token.unpauseToken, (ID)),
            abi.encodeCall(token.setAddressFrozen, (ALICE, true)),
            abi.encodeCall(token.batchSetAddressFrozen, (a, new bool[](1))),
            abi.encodeCall(token.setFrozenTokens, (ALICE, ID, 1)),
            abi.encodeCall(token.freezePartialTokens, (ALICE, ID, 0)),
            abi.encodeCall(token.unfreezePartialTokens, (ALICE, ID, 0)),
            abi.encodeCall(token.batchFreezePartialTokens, (a, u, u)),
            abi.encodeCall(token.batchUnfreezePartialTokens, (a, u, u)),
            abi.encodeCall(token.forcedTransfer, (ALICE, BOB, ID, 0)),
            abi.encodeCall(token.batchForcedTransfer, (a, a, u, u)),
            abi.encodeCall(token.recoveryAddress, (ALICE, BOB, subject(ALICE), u))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            refused(STRANGER, address(token), calls[i], denied);
        }
    }

    function test_only_the_owner_governs() public {
        bytes memory denied = abi.encodeWithSelector(Owned.NotOwner.selector, STRANGER);
        bytes[6] memory calls = [
            abi.encodeCall(token.setCompliance, (address(compliance))),
            abi.encodeCall(token.addMinter, (STRANGER)),
            abi.encodeCall(token.removeMinter, (address(this))),
            abi.encodeCall(token.addAgent, (STRANGER)),
            abi.encodeCall(token.removeAgent, (address(this))),
            abi.encodeCall(token.transferOwnership, (STRANGER))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            refused(STRANGER, address(token), calls[i], denied);
        }
    }

    function test_the_compliance_contract_is_replaceable_and_its_failure_refuses() public {
        issue();
        BrokenCompliance other = new BrokenCompliance(address(registry));
        vm.expectEmit(address(token));
        emit FXReceivableToken.ComplianceAdded(address(other));
        token.setCompliance(address(other));
        same(token.compliance(), address(other));
        same(token.identityRegistry(), address(registry));
        give(STRANGER, 1);
        other.breakDown();
        transferRefused(MINTING, ALICE, 1, "compliance unavailable");
        isFalse(token.canSend(MINTING));
        isFalse(token.canReceive(MINTING));
        asOwnerRefused(abi.encodeCall(token.setCompliance, (address(other))), "");
        asOwnerRefused(
            abi.encodeCall(token.setCompliance, (STRANGER)),
            abi.encodeWithSelector(Owned.NoContractAt.selector, STRANGER)
        );
        token.setCompliance(address(compliance));
        give(ALICE, 1);
    }

    function test_the_interface_ids_are_claimed_and_erc3643_is_not() public view {
        isTrue(token.supportsInterface(0x41c4fbad));
        isTrue(token.supportsInterface(0xd9b67a26));
        isTrue(token.supportsInterface(0x01ffc9a7));
        isTrue(token.supportsInterface(0x7f5828d0));
        isTrue(token.supportsInterface(0x0cba0fa8));
        isFalse(token.supportsInterface(0xb97d944c));
        isFalse(token.supportsInterface(0xffffffff));
        same(token.decimals(), 2);
        same(keccak256(bytes(token.name())), keccak256("FinToken X Receivables"));
        same(keccak256(bytes(token.symbol())), keccak256("FXR"));
    }

    // --- properties ---

    function testFuzz_a_transfer_conserves_and_happens_exactly_when_allowed(
        uint96 face,
        uint128 frozen,
        uint128 amount,
        bool paused
    ) public {
        vm.assume(face != 0);
        token.issueReceivable(MINTING, ID, face, DUE, DOCUMENT);
        token.setFrozenTokens(MINTING, ID, frozen);
        if (paused) token.pause();
        bool expected = token.canTransfer(MINTING, ALICE, ID, amount) && amount <= face;
        bool free = frozen < face && amount <= face - frozen;
        isTrue(expected == (!paused && (free || amount == 0)));
        vm.prank(MINTING);
        (bool moved,) = address(token).call(abi.encodeCall(token.safeTransferFrom, (MINTING, ALICE, ID, amount, "")));
        isTrue(moved == expected);
        same(token.balanceOf(ALICE, ID), moved ? amount : 0);
        same(token.balanceOf(MINTING, ID) + token.balanceOf(ALICE, ID), face);
        same(token.getFrozenTokens(MINTING, ID), frozen);
    }

    function testFuzz_questions_never_revert(address from, address to, uint256 id, uint256 amount) public view {
        token.canTransfer(from, to, id, amount);
        token.canTransferReason(from, to, id, amount);
        token.canSend(from);
        token.canReceive(to);
    }
}

