// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {FXTest} from "./FXTest.sol";

/// @notice What the platform's way of recovering relies on, step by step: claims gone first, holdings, then the registry.
contract RecoveryTest is FXTest {
    address private constant CAROL = address(0xC001);
    uint256 private constant GAS_PER_ID = 80_000;

    function setUp() public override {
        super.setUp();
        issue();
        give(ALICE, 100);
        registerFor(CAROL, subject(ALICE), LENDER, true);
        revoke(ALICE);
    }

    function test_a_recovery_that_names_no_id_retires_the_wallet() public {
        uint256[] memory none = new uint256[](0);
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), none);
        isTrue(token.isFrozen(ALICE));
        same(token.balanceOf(ALICE, ID), 100);
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        same(token.balanceOf(CAROL, ID), 100);
    }

    function test_an_id_of_which_nothing_is_left_is_no_obstacle() public {
        token.burnReceivable(ID, two(ALICE, MINTING), "settled");
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), two(ID, 8));
        same(token.balanceOf(CAROL, ID) + token.balanceOf(CAROL, 8), 0);
        isTrue(token.isFrozen(ALICE));
    }

    function test_a_burn_that_names_both_wallets_finds_the_holding_before_and_after() public {
        address[] memory holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (ALICE, CAROL, MINTING);
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        token.burnReceivable(ID, holders, "settled");
        same(token.totalSupply(ID), 0);
    }

    function test_a_retired_wallet_out_of_the_registry_stays_retired_when_it_is_registered_anew() public {
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), one(ID));
        registry.deleteIdentity(ALICE);
        isFalse(registry.contains(ALICE));
        transferRefused(MINTING, ALICE, 1, "address frozen");
        registerFor(ALICE, subject(ALICE), LENDER, true);
        isTrue(registry.isVerified(ALICE));
        transferRefused(MINTING, ALICE, 1, "address frozen");
        isFalse(token.canReceive(ALICE));
    }

    function test_out_of_the_registry_nothing_can_be_recovered_any_more() public {
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), new uint256[](0));
        registry.deleteIdentity(ALICE);
        refused(
            address(this),
            address(token),
            abi.encodeCall(token.recoveryAddress, (ALICE, CAROL, subject(ALICE), one(ID))),
            abi.encodeWithSelector(FXReceivableToken.RecoveryOfAnotherSubject.selector, ALICE, CAROL)
        );
    }

    /// @dev The client sends so much gas with each id (adapters/chain/client.py); frozen amounts are the dear case.
    function test_the_gas_of_a_recovery_is_bounded_per_id() public {
        uint256[] memory ids = new uint256[](50);
        for (uint256 i = 0; i < ids.length; ++i) {
            ids[i] = 100 + i;
            registerFor(ALICE, subject(ALICE), LENDER, true);
            token.issueReceivable(ALICE, ids[i], 50, DUE, DOCUMENT);
            token.setFrozenTokens(ALICE, ids[i], 30);
        }
        revoke(ALICE);
        uint256 before = gasleft();
        token.recoveryAddress(ALICE, CAROL, subject(ALICE), ids);
        isTrue(before - gasleft() < ids.length * GAS_PER_ID);
        same(token.balanceOf(CAROL, 149), 50);
        same(token.getFrozenTokens(CAROL, 149), 30);
    }
}
