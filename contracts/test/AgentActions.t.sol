// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {IERC1155} from "../src/interfaces/IERC1155.sol";
import {IERC7943MultiToken} from "../src/interfaces/IERC7943MultiToken.sol";
import {FXTest} from "./FXTest.sol";

/// @notice What the agent does against or without the holder: forced transfer, recovery, burn.
contract AgentActionsTest is FXTest {
    address private constant CAROL = address(0xC001);

    function setUp() public override {
        super.setUp();
        issue();
        give(ALICE, 100);
    }

    function asAgentRefused(bytes memory data, bytes memory expected) private {
        refused(address(this), address(token), data, expected);
    }

    // --- forced transfer ---

    function test_a_forced_transfer_passes_pause_freeze_and_lost_claims_of_the_sender() public {
        token.setFrozenTokens(ALICE, ID, 80);
        token.setAddressFrozen(ALICE, true);
        token.pauseToken(ID);
        token.pause();
        revoke(ALICE);
        vm.expectEmit(address(token));
        emit IERC7943MultiToken.Frozen(ALICE, ID, 10);
        vm.expectEmit(address(token));
        emit IERC1155.TransferSingle(address(this), ALICE, BOB, ID, 90);
        vm.expectEmit(address(token));
        emit IERC7943MultiToken.ForcedTransfer(ALICE, BOB, ID, 90);
        isTrue(token.forcedTransfer(ALICE, BOB, ID, 90));
        same(token.balanceOf(ALICE, ID), 10);
        same(token.balanceOf(BOB, ID), 90);
        same(token.getFrozenTokens(ALICE, ID), 10);
    }

    function test_a_forced_transfer_of_free_tokens_leaves_the_frozen_ones() public {
        token.setFrozenTokens(ALICE, ID, 80);
        token.forcedTransfer(ALICE, BOB, ID, 20);
        same(token.getFrozenTokens(ALICE, ID), 80);
    }

    function test_a_forced_transfer_to_the_holder_itself_is_refused_and_lifts_no_freeze() public {
        token.setFrozenTokens(ALICE, ID, 80);
        bytes memory toSelf = abi.encodeWithSelector(FXReceivableToken.ForcedTransferToSelf.selector, ALICE);
        asAgentRefused(abi.encodeCall(token.forcedTransfer, (ALICE, ALICE, ID, 100)), toSelf);
        asAgentRefused(
            abi.encodeCall(
                token.batchForcedTransfer, (two(MINTING, ALICE), two(ALICE, ALICE), two(ID, ID), two(1, 101))
            ),
            toSelf
        );
        same(token.balanceOf(ALICE, ID), 100);
        same(token.getFrozenTokens(ALICE, ID), 80);
    }

    function test_a_holders_own_transfer_to_itself_lifts_no_freeze() public {
        token.setFrozenTokens(ALICE, ID, 80);
        transferRefused(ALICE, ALICE, 21, "tokens frozen");
        send(ALICE, ALICE, 20);
        vm.prank(ALICE);
        token.safeBatchTransferFrom(ALICE, ALICE, two(ID, ID), two(20, 20), "");
        vm.prank(ALICE);
        token.batchTransfer(two(ALICE, ALICE), two(ID, ID), two(20, 20));
        same(token.getFrozenTokens(ALICE, ID), 80);
        same(token.balanceOf(ALICE, ID), 100);
    }

    /// @dev A freeze may exceed the balance, to hold what comes in later. Force takes of it what it moves, no more.
    function test_force_lifts_only_the_freeze_of_what_it_moved() public {
        token.setFrozenTokens(ALICE, ID, 250);
        token.forcedTransfer(ALICE, BOB, ID, 90);
        same(token.getFrozenTokens(ALICE, ID), 160);
        token.forcedTransfer(ALICE, BOB, ID, 10);
        same(token.getFrozenTokens(ALICE, ID), 150);
        give(ALICE, 150);
        transferRefused(ALICE, BOB, 1, "tokens frozen");
    }

    function test_a_burn_lifts_the_freeze_of_a_holder_of_nothing_too() public {
        token.setFrozenTokens(BOB, ID, 7);
        address[] memory holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (ALICE, BOB, MINTING);
        token.burnReceivable(ID, holders, "settled");
        same(token.getFrozenTokens(BOB, ID), 0);
    }

    function test_a_forced_transfer_never_reaches_a_wallet_that_may_not_receive() public {
        forcedRefused(STRANGER);
        forcedRefused(address(0));
        sanctions.setFlagged(BOB, true);
        forcedRefused(BOB);
        sanctions.setFlagged(BOB, false);
        token.setAddressFrozen(BOB, true);
        forcedRefused(BOB);
    }

    function forcedRefused(address to) private {
        asAgentRefused(
            abi.encodeCall(token.forcedTransfer, (ALICE, to, ID, 1)),
            abi.encodeWithSelector(IERC7943MultiToken.ERC7943CannotReceive.selector, to)
        );
    }

    function test_a_forced_transfer_of_more_than_the_balance_is_refused() public {
        asAgentRefused(
            abi.encodeCall(token.forcedTransfer, (ALICE, BOB, ID, 101)),
            abi.encodeWithSelector(IERC1155.ERC1155InsufficientBalance.selector, ALICE, 100, 101, ID)
        );
    }

    function test_forced_transfers_come_in_batches() public {
        token.batchForcedTransfer(two(ALICE, MINTING), two(BOB, BOB), two(ID, ID), two(100, 1));
        same(token.balanceOf(BOB, ID), 101);
    }

    // --- recovery ---

    function recoverable() private {
        registerFor(CAROL, subject(ALICE), LENDER, true);
    }

    function test_recovery_moves_balances_and_frozen_amounts_to_the_new_wallet() public {
        token.issueReceivable(ALICE, 8, 50, DUE, DOCUMENT);
        token.setFrozenTokens(ALICE, ID, 30);
        recoverable();
        revoke(ALICE);
        vm.expectEmit(address(token));
        emit IERC1155.TransferBatch(address(this), ALICE, CAROL, two(ID, 8), two(100, 50));
        vm.expectEmit(address(token));
        emit FXReceivableToken.RecoverySuccess(ALICE, CAROL, subject(ALICE));
        isTrue(token.recoveryAddress(ALICE, CAROL, subject(ALICE), two(ID, 8)));
        same(token.balanceOf(ALICE, ID) + token.balanceOf(ALICE, 8), 0);
        same(token.getFrozenTokens(ALICE, ID), 0);
        same(token.balanceOf(CAROL, ID), 100);
        same(token.balanceOf(CAROL, 8), 50);
        same(token.getFrozenTokens(CAROL, ID), 30);
        isFalse(token.isFrozen(CAROL));
        transferRefused(CAROL, BOB, 71, "tokens frozen");
        send(CAROL, BOB, 70);
    }

    function test_a_recovered_wallet_is_retired_for_ever() public {
        recoverable();
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        transferRefused(MINTING, ALICE, 1, "address frozen");
        token.setAddressFrozen(ALICE, false);
        isTrue(token.isFrozen(ALICE));
        isFalse(token.canReceive(ALICE));
        isFalse(token.canSend(ALICE));
        asAgentRefused(
            abi.encodeCall(token.forcedTransfer, (MINTING, ALICE, ID, 1)),
            abi.encodeWithSelector(IERC7943MultiToken.ERC7943CannotReceive.selector, ALICE)
        );
        asAgentRefused(
            abi.encodeCall(token.recoveryAddress, (CAROL, ALICE, subject(ALICE), one(ID))),
            abi.encodeWithSelector(IERC7943MultiToken.ERC7943CannotReceive.selector, ALICE)
        );
    }

    function test_ids_forgotten_at_first_can_be_recovered_later() public {
        token.issueReceivable(ALICE, 8, 50, DUE, DOCUMENT);
        recoverable();
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), two(8, ID));
        same(token.balanceOf(CAROL, ID), 100);
        same(token.balanceOf(CAROL, 8), 50);
    }

    function test_a_frozen_wallet_passes_its_freeze_on() public {
        recoverable();
        token.setAddressFrozen(ALICE, true);
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        isTrue(token.isFrozen(CAROL));
        transferRefused(CAROL, BOB, 1, "address frozen");
    }

    function test_frozen_amounts_add_up_without_overflow() public {
        recoverable();
        token.setFrozenTokens(ALICE, ID, type(uint128).max);
        token.setFrozenTokens(CAROL, ID, 1);
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        same(token.getFrozenTokens(CAROL, ID), type(uint128).max);
    }

    function test_recovery_stays_within_one_subject() public {
        bytes memory other = abi.encodeWithSelector(FXReceivableToken.RecoveryOfAnotherSubject.selector, ALICE, BOB);
        asAgentRefused(abi.encodeCall(token.recoveryAddress, (ALICE, BOB, subject(ALICE), one(ID))), other);
        asAgentRefused(abi.encodeCall(token.recoveryAddress, (ALICE, BOB, subject(BOB), one(ID))), other);
        asAgentRefused(
            abi.encodeCall(token.recoveryAddress, (ALICE, ALICE, subject(ALICE), one(ID))),
            abi.encodeWithSelector(FXReceivableToken.RecoveryOfAnotherSubject.selector, ALICE, ALICE)
        );
        asAgentRefused(
            abi.encodeCall(token.recoveryAddress, (STRANGER, address(0x5002), bytes32(0), one(ID))),
            abi.encodeWithSelector(FXReceivableToken.RecoveryOfAnotherSubject.selector, STRANGER, address(0x5002))
        );
    }

    function test_the_new_wallet_must_be_able_to_receive() public {
        recoverable();
        revoke(CAROL);
        asAgentRefused(
            abi.encodeCall(token.recoveryAddress, (ALICE, CAROL, subject(ALICE), one(ID))),
            abi.encodeWithSelector(IERC7943MultiToken.ERC7943CannotReceive.selector, CAROL)
        );
    }

    // --- burn ---

    function test_a_burn_takes_everything_and_retires_the_id() public {
        token.setFrozenTokens(ALICE, ID, 7);
        token.pause();
        vm.expectEmit(address(token));
        emit IERC7943MultiToken.Frozen(ALICE, ID, 0);
        vm.expectEmit(address(token));
        emit IERC1155.TransferSingle(address(this), ALICE, address(0), ID, 100);
        vm.expectEmit(address(token));
        emit IERC1155.TransferSingle(address(this), MINTING, address(0), ID, FACE - 100);
        vm.expectEmit(address(token));
        emit FXReceivableToken.ReceivableBurned(ID, "settled");
        token.burnReceivable(ID, two(ALICE, MINTING), "settled");
        (uint256 face, uint256 supply,,, bool exists, bool burned) = token.receivableOf(ID);
        same(face, FACE);
        same(supply, 0);
        isTrue(exists);
        isTrue(burned);
        same(token.balanceOf(ALICE, ID) + token.balanceOf(MINTING, ID), 0);
        same(token.getFrozenTokens(ALICE, ID), 0);
    }

    function test_a_burn_that_forgets_a_holder_is_refused_whole() public {
        asAgentRefused(
            abi.encodeCall(token.burnReceivable, (ID, one(MINTING), "settled")),
            abi.encodeWithSelector(FXReceivableToken.HoldersIncomplete.selector, ID, 100)
        );
        asAgentRefused(
            abi.encodeCall(token.burnReceivable, (ID, two(MINTING, MINTING), "settled")),
            abi.encodeWithSelector(FXReceivableToken.HoldersIncomplete.selector, ID, 100)
        );
        same(token.balanceOf(MINTING, ID), FACE - 100);
    }

    function test_holders_named_twice_or_without_balance_do_not_matter() public {
        address[] memory holders = new address[](4);
        (holders[0], holders[1], holders[2], holders[3]) = (ALICE, BOB, MINTING, ALICE);
        token.burnReceivable(ID, holders, "settled");
        same(token.totalSupply(ID), 0);
    }

    function test_a_burned_or_unknown_id_is_neither_burned_nor_paused() public {
        token.burnReceivable(ID, two(ALICE, MINTING), "settled");
        bytes memory burned = abi.encodeWithSelector(FXReceivableToken.ReceivableAlreadyBurned.selector, ID);
        asAgentRefused(abi.encodeCall(token.burnReceivable, (ID, new address[](0), "settled")), burned);
        asAgentRefused(abi.encodeCall(token.pauseToken, (ID)), burned);
        asAgentRefused(abi.encodeCall(token.unpauseToken, (ID)), burned);
        bytes memory unknown = abi.encodeWithSelector(FXReceivableToken.UnknownReceivable.selector, 8);
        asAgentRefused(abi.encodeCall(token.burnReceivable, (8, new address[](0), "settled")), unknown);
        asAgentRefused(abi.encodeCall(token.pauseToken, (8)), unknown);
    }

    function test_a_receivable_never_minted_can_be_retired() public {
        token.createReceivable(8, FACE, DUE, DOCUMENT);
        token.burnReceivable(8, new address[](0), "abandoned");
        asAgentRefused(
            abi.encodeCall(token.mint, (MINTING, 8, 1)),
            abi.encodeWithSelector(FXReceivableToken.ReceivableAlreadyBurned.selector, 8)
        );
    }
}
