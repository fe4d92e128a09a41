// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXAuditAnchor} from "../src/FXAuditAnchor.sol";
import {FXTest} from "./FXTest.sol";

/// @notice Upper bounds for the gas of whole transactions: calls are isolated (foundry.toml), so storage is cold and
/// the 21,000 and the calldata are in the figure, as in a receipt.
contract GasTest is FXTest {
    event Measured(string operation, uint256 gas);

    function setUp() public override {
        super.setUp();
        issue();
        give(ALICE, 1000);
        give(BOB, 1000);
    }

    /// @dev Gas is a matter of the bytes that are deployed.
    function testsArtifacts() internal pure override returns (bool) {
        return true;
    }

    function atMost(uint256 limit, string memory operation) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        emit Measured(operation, used);
        require(used <= limit, string.concat(operation, " took too much gas"));
        require(used > 21_000, "not a whole transaction");
    }

    function test_transfer_with_four_rules() public {
        vm.prank(ALICE);
        token.safeTransferFrom(ALICE, BOB, ID, 100, "");
        atMost(81_000, "transfer, both have some");
    }

    function test_transfer_to_a_first_time_holder() public {
        address carol = address(0xC001);
        register(carol, LENDER, true);
        vm.prank(ALICE);
        token.safeTransferFrom(ALICE, carol, ID, 100, "");
        atMost(98_000, "transfer, first of the receiver");
    }

    function test_batch_of_ten_receivers() public {
        address[] memory tos = new address[](10);
        uint256[] memory ids = new uint256[](10);
        uint256[] memory amounts = new uint256[](10);
        for (uint256 i = 0; i < 10; ++i) {
            (tos[i], ids[i], amounts[i]) = (address(uint160(0xC100 + i)), ID, 10);
            register(tos[i], LENDER, true);
        }
        vm.prank(MINTING);
        token.batchTransfer(tos, ids, amounts);
        vm.prank(MINTING);
        token.batchTransfer(tos, ids, amounts);
        atMost(295_000, "batch of 10 transfers, repeated");
    }

    function test_mint_again() public {
        token.createReceivable(8, FACE, DUE, DOCUMENT);
        token.mint(MINTING, 8, 10);
        token.mint(MINTING, 8, 10);
        atMost(66_000, "mint, repeated");
    }

    function test_issue() public {
        token.issueReceivable(MINTING, uint256(keccak256("8")), FACE, DUE, DOCUMENT);
        atMost(128_000, "issueReceivable");
    }

    function test_burn_of_three_holders() public {
        address[] memory holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (MINTING, ALICE, BOB);
        token.burnReceivable(ID, holders, "settled");
        atMost(60_000, "burnReceivable, 3 holders");
    }

    function test_register_and_renew_a_wallet() public {
        address carol = address(0xC001);
        register(carol, BASE, false);
        atMost(110_000, "registerWallet, first, 3 claims");
        register(carol, BASE, false);
        atMost(70_000, "registerWallet, renewal");
        registry.registerWallet(carol, subject(carol), 826, 0, false, 0, "");
        atMost(45_000, "registerWallet, revocation");
    }

    /// @dev The first is no dearer than the others, nor is one after a gap.
    function test_no_anchor_of_many_costs_more() public {
        FXAuditAnchor log = FXAuditAnchor(deployed("FXAuditAnchor", abi.encode(this, this)));
        for (uint256 i = 1; i <= 12; ++i) {
            log.anchor(i < 10 ? i : 1000 * i, 100_000 * i, keccak256(abi.encode(i)));
            atMost(60_000, "anchor");
        }
    }
}
