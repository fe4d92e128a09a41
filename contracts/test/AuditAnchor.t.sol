// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXAuditAnchor} from "../src/FXAuditAnchor.sol";
import {Owned} from "../src/access/Owned.sol";
import {FXTest} from "./FXTest.sol";

contract AuditAnchorTest is FXTest {
    FXAuditAnchor private log;

    function setUp() public override {
        log = FXAuditAnchor(deployed("FXAuditAnchor", abi.encode(this, ALICE)));
    }

    function put(uint256 batchId, uint256 treeSize, bytes32 root) private {
        vm.prank(ALICE);
        log.anchor(batchId, treeSize, root);
    }

    function rootOf(uint256 batchId) private pure returns (bytes32) {
        return keccak256(abi.encode("root", batchId));
    }

    function isAnchored(uint256 batchId, uint256 treeSize, bytes32 root, uint256 blockNumber) private view {
        (uint256 size, bytes22 prefix, uint256 number) = log.anchors(batchId);
        same(size, treeSize);
        same(bytes32(prefix), bytes32(bytes22(root)));
        same(number, blockNumber);
    }

    function anchorRefused(address caller, uint256 batchId, uint256 treeSize, bytes32 root, bytes memory expected)
        private
    {
        refused(caller, address(log), abi.encodeCall(log.anchor, (batchId, treeSize, root)), expected);
    }

    function test_anchors_are_kept_and_the_latest_is_known() public {
        (uint256 batchId, uint256 treeSize, bytes32 root, uint256 blockNumber) = log.latest();
        same(batchId + treeSize + uint256(root) + blockNumber, 0);
        for (uint256 i = 1; i <= 10; ++i) {
            vm.roll(1000 + i);
            vm.expectEmit(address(log));
            emit FXAuditAnchor.Anchored(i, 100 * i, rootOf(i));
            put(i, 100 * i, rootOf(i));
            (batchId, treeSize, root, blockNumber) = log.latest();
            same(batchId, i);
            same(treeSize, 100 * i);
            same(root, rootOf(i));
            same(blockNumber, 1000 + i);
        }
        for (uint256 i = 1; i <= 10; ++i) {
            isAnchored(i, 100 * i, rootOf(i), 1000 + i);
        }
        isAnchored(11, 0, 0, 0);
    }

    function test_a_root_whose_first_bytes_are_zero_is_kept() public {
        put(1, 7, bytes32(uint256(1)));
        isAnchored(1, 7, bytes32(uint256(1)), block.number);
        (,, bytes32 root,) = log.latest();
        same(root, bytes32(uint256(1)));
    }

    function test_neither_batch_nor_tree_goes_back_or_stands_still() public {
        put(5, 100, bytes32(uint256(1)));
        bytes4 batch = FXAuditAnchor.BatchIdNotIncreasing.selector;
        bytes4 tree = FXAuditAnchor.TreeSizeNotIncreasing.selector;
        anchorRefused(ALICE, 5, 101, bytes32(uint256(2)), abi.encodeWithSelector(batch, 5, 5));
        anchorRefused(ALICE, 4, 101, bytes32(uint256(2)), abi.encodeWithSelector(batch, 5, 4));
        anchorRefused(ALICE, 6, 100, bytes32(uint256(2)), abi.encodeWithSelector(tree, 100, 100));
        anchorRefused(ALICE, 6, 99, bytes32(uint256(2)), abi.encodeWithSelector(tree, 100, 99));
        anchorRefused(ALICE, 1 << 48, 101, bytes32(uint256(2)), abi.encodeWithSelector(batch, 5, 1 << 48));
        anchorRefused(ALICE, 6, 1 << 40, bytes32(uint256(2)), abi.encodeWithSelector(tree, 100, 1 << 40));
        anchorRefused(ALICE, 6, 101, 0, abi.encodeWithSelector(FXAuditAnchor.EmptyRoot.selector));
        isAnchored(5, 100, bytes32(uint256(1)), block.number);
    }

    function test_batch_zero_and_an_empty_tree_are_refused() public {
        anchorRefused(
            ALICE, 0, 1, bytes32(uint256(1)), abi.encodeWithSelector(FXAuditAnchor.BatchIdNotIncreasing.selector, 0, 0)
        );
        anchorRefused(
            ALICE, 1, 0, bytes32(uint256(1)), abi.encodeWithSelector(FXAuditAnchor.TreeSizeNotIncreasing.selector, 0, 0)
        );
    }

    function test_only_the_anchorer_anchors_and_only_the_owner_names_it() public {
        bytes memory denied = abi.encodeWithSelector(FXAuditAnchor.NotAnchorer.selector, address(this));
        anchorRefused(address(this), 1, 1, bytes32(uint256(1)), denied);
        refused(
            STRANGER,
            address(log),
            abi.encodeCall(log.setAnchorer, (STRANGER)),
            abi.encodeWithSelector(Owned.NotOwner.selector, STRANGER)
        );
        put(1, 1, bytes32(uint256(1)));
        log.setAnchorer(BOB);
        same(log.anchorer(), BOB);
        anchorRefused(
            ALICE, 2, 2, bytes32(uint256(1)), abi.encodeWithSelector(FXAuditAnchor.NotAnchorer.selector, ALICE)
        );
        vm.prank(BOB);
        log.anchor(2, 2, bytes32(uint256(2)));
        isAnchored(1, 1, bytes32(uint256(1)), block.number);
    }

    function testFuzz_earlier_anchors_survive_later_ones(uint8[12] memory steps, uint40 blockNumber) public {
        uint256[12] memory ids;
        uint256 id;
        vm.roll(blockNumber);
        for (uint256 i = 0; i < 12; ++i) {
            id += uint256(steps[i] % 5) + 1;
            ids[i] = id;
            put(id, (i + 1) * 7, keccak256(abi.encode(i)));
        }
        for (uint256 i = 0; i < 12; ++i) {
            isAnchored(ids[i], (i + 1) * 7, keccak256(abi.encode(i)), blockNumber);
        }
    }
}
