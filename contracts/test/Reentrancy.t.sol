// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {IERC1155, IERC1155Receiver} from "../src/interfaces/IERC1155.sol";
import {FXTest} from "./FXTest.sol";

/// @dev A wallet that is a contract: on receipt it tells what it saw, makes one call of its own, and answers as told.
contract CallbackWallet is IERC1155Receiver {
    FXReceivableToken private immutable token;
    bytes public planned;
    bool public accepting = true;
    bool public attackSucceeded;
    uint256 public seenBalance;
    /// @dev Whose balance it looks at when it is called.
    address public watched;
    uint256 public calls;

    constructor(FXReceivableToken token_) {
        token = token_;
        watched = address(this);
    }

    function watch(address account) external {
        watched = account;
    }

    function plan(bytes calldata data) external {
        planned = data;
    }

    function setAccepting(bool accepting_) external {
        accepting = accepting_;
    }

    function onERC1155Received(address, address, uint256 id, uint256, bytes calldata) external returns (bytes4) {
        _act(id);
        return accepting ? this.onERC1155Received.selector : bytes4(0xdeadbeef);
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata ids, uint256[] calldata, bytes calldata)
        external
        returns (bytes4)
    {
        _act(ids[0]);
        return accepting ? this.onERC1155BatchReceived.selector : bytes4(0xdeadbeef);
    }

    function _act(uint256 id) private {
        ++calls;
        seenBalance = token.balanceOf(watched, id);
        bytes memory data = planned;
        if (data.length == 0) return;
        delete planned;
        (attackSucceeded,) = address(token).call(data);
    }
}

contract ReentrancyTest is FXTest {
    CallbackWallet private wallet;

    function setUp() public override {
        super.setUp();
        issue();
        wallet = new CallbackWallet(token);
        register(address(wallet), LENDER, true);
    }

    function total() private view returns (uint256) {
        return token.balanceOf(MINTING, ID) + token.balanceOf(ALICE, ID) + token.balanceOf(address(wallet), ID);
    }

    function test_a_receiver_calling_back_meets_a_finished_state() public {
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (address(wallet), ALICE, ID, 60, "")));
        give(address(wallet), 100);
        same(wallet.seenBalance(), 100);
        isTrue(wallet.attackSucceeded());
        same(token.balanceOf(address(wallet), ID), 40);
        same(token.balanceOf(ALICE, ID), 60);
        same(total(), FACE);
    }

    function test_a_receiver_cannot_spend_the_senders_balance_or_more_than_its_own() public {
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (MINTING, address(wallet), ID, 1, "")));
        give(address(wallet), 100);
        isFalse(wallet.attackSucceeded());
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (address(wallet), ALICE, ID, 201, "")));
        give(address(wallet), 100);
        isFalse(wallet.attackSucceeded());
        same(token.balanceOf(address(wallet), ID), 200);
        same(total(), FACE);
    }

    function test_a_minter_calling_back_cannot_exceed_the_face() public {
        token.addMinter(address(wallet));
        token.createReceivable(8, 100, DUE, DOCUMENT);
        wallet.plan(abi.encodeCall(token.mint, (address(wallet), 8, 1)));
        token.mint(address(wallet), 8, 100);
        isFalse(wallet.attackSucceeded());
        same(token.totalSupply(8), 100);
        wallet.plan(abi.encodeCall(token.issueReceivable, (address(wallet), 9, 7, DUE, DOCUMENT)));
        token.issueReceivable(address(wallet), 9, 5, DUE, DOCUMENT);
        isFalse(wallet.attackSucceeded());
        same(token.totalSupply(9), 5);
    }

    function test_batches_and_recoveries_call_back_once_with_everything_done() public {
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (address(wallet), ALICE, ID, 5, "")));
        vm.prank(MINTING);
        token.safeBatchTransferFrom(MINTING, address(wallet), two(ID, ID), two(2, 3), "");
        same(wallet.calls(), 1);
        same(wallet.seenBalance(), 5);
        isTrue(wallet.attackSucceeded());
        CallbackWallet fresh = new CallbackWallet(token);
        registerFor(address(fresh), subject(ALICE), LENDER, true);
        fresh.plan(abi.encodeCall(token.safeTransferFrom, (address(fresh), MINTING, ID, 5, "")));
        token.recoveryAddress(ALICE, address(fresh), subject(ALICE), one(ID));
        same(fresh.seenBalance(), 5);
        isTrue(fresh.attackSucceeded());
        same(total(), FACE);
    }

    /// @dev The first receiver looks at the last one's balance, and tries to spend what it has itself.
    function test_all_effects_of_a_batch_stand_before_its_first_receiver_is_called() public {
        wallet.watch(BOB);
        address[] memory tos = two(address(wallet), BOB);
        vm.prank(MINTING);
        token.batchTransfer(tos, two(ID, ID), two(3, 4));
        same(wallet.seenBalance(), 4);
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (address(wallet), ALICE, ID, 3, "")));
        token.batchForcedTransfer(two(MINTING, MINTING), tos, two(ID, ID), two(3, 5));
        same(wallet.seenBalance(), 9);
        isTrue(wallet.attackSucceeded());
        token.createReceivable(8, FACE, DUE, DOCUMENT);
        wallet.plan(abi.encodeCall(token.safeTransferFrom, (address(wallet), ALICE, 8, 3, "")));
        token.batchMint(tos, two(8, 8), two(3, 6));
        same(wallet.seenBalance(), 6);
        isTrue(wallet.attackSucceeded());
        same(token.totalSupply(8), 9);
        same(total() + token.balanceOf(BOB, ID), FACE);
        wallet.watch(address(wallet));
        vm.prank(MINTING);
        token.safeBatchTransferFrom(MINTING, address(wallet), two(ID, ID), two(2, 3), "");
        same(wallet.seenBalance(), 3 + 2 + 3);
        same(wallet.calls(), 4);
    }

    /// @dev In a batch each receiver is asked about its own part, by onERC1155Received; one that refuses undoes all.
    function test_one_receiver_that_does_not_accept_undoes_the_whole_batch() public {
        CallbackWallet second = new CallbackWallet(token);
        register(address(second), LENDER, true);
        second.setAccepting(false);
        bytes memory invalid = abi.encodeWithSelector(IERC1155.ERC1155InvalidReceiver.selector, address(second));
        address[] memory tos = two(address(wallet), address(second));
        token.createReceivable(8, FACE, DUE, DOCUMENT);
        refused(MINTING, address(token), abi.encodeCall(token.batchTransfer, (tos, two(ID, ID), two(1, 1))), invalid);
        refused(
            address(this),
            address(token),
            abi.encodeCall(token.batchForcedTransfer, (two(MINTING, MINTING), tos, two(ID, ID), two(1, 1))),
            invalid
        );
        refused(address(this), address(token), abi.encodeCall(token.batchMint, (tos, two(8, 8), two(1, 1))), invalid);
        same(token.balanceOf(address(wallet), ID) + token.totalSupply(8), 0);
        same(token.balanceOf(MINTING, ID), FACE);
    }

    function test_a_receiver_that_does_not_accept_gets_nothing() public {
        wallet.setAccepting(false);
        bytes memory invalid = abi.encodeWithSelector(IERC1155.ERC1155InvalidReceiver.selector, address(wallet));
        address to = address(wallet);
        refused(MINTING, address(token), abi.encodeCall(token.safeTransferFrom, (MINTING, to, ID, 1, "")), invalid);
        refused(
            MINTING,
            address(token),
            abi.encodeCall(token.safeBatchTransferFrom, (MINTING, to, one(ID), one(uint256(1)), "")),
            invalid
        );
        refused(
            MINTING, address(token), abi.encodeCall(token.batchTransfer, (one(to), one(ID), one(uint256(1)))), invalid
        );
        refused(address(this), address(token), abi.encodeCall(token.forcedTransfer, (MINTING, to, ID, 1)), invalid);
        refused(
            address(this), address(token), abi.encodeCall(token.issueReceivable, (to, 8, 5, DUE, DOCUMENT)), invalid
        );
        same(token.balanceOf(to, ID), 0);
        (,,,, bool exists,) = token.receivableOf(8);
        isFalse(exists);
    }

    function test_a_contract_that_is_no_receiver_gets_nothing() public {
        register(address(lockup), LENDER, true);
        refused(
            MINTING, address(token), abi.encodeCall(token.safeTransferFrom, (MINTING, address(lockup), ID, 1, "")), ""
        );
    }
}
