// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Owned} from "./access/Owned.sol";

/// @notice Keeps the Merkle roots of the audit log: what was anchored is never changed and never removed. The log is
/// one growing tree (RFC 6962), so each anchor must cover more leaves than the one before.
///
/// The newest root is kept whole, and any leaf can be proved against it. Of each anchor there stay for ever its tree
/// size, its block and the first 22 bytes of its root, in one slot; the whole root is in the event of that block.
contract FXAuditAnchor is Owned {
    uint256 private constant PREFIX_MASK = ~uint256(type(uint80).max);

    /// @dev Root (the first 176 bits), block number and tree size (40 bits each): one new slot for every anchor, so
    /// that none costs more than another. A whole root fills a slot by itself, and the second one costs 17,100 gas.
    mapping(uint256 batchId => uint256) private _anchors;

    /// @dev One slot, all that anchoring must know of the anchor before.
    address public anchorer;
    uint48 private _latestBatchId;
    uint40 private _latestTreeSize;

    /// @dev Never zero: the first anchor would otherwise pay for opening it.
    bytes32 private _latestRoot = bytes32(type(uint256).max);

    event Anchored(uint256 indexed batchId, uint256 treeSize, bytes32 root);
    event AnchorerSet(address indexed anchorer);

    error NotAnchorer(address account);
    error BatchIdNotIncreasing(uint256 latest, uint256 given);
    error TreeSizeNotIncreasing(uint256 latest, uint256 given);
    error EmptyRoot();

    constructor(address owner_, address anchorer_) Owned(owner_) {
        _setAnchorer(anchorer_);
    }

    /// @notice Names the one account that may anchor; the zero address stops anchoring.
    function setAnchorer(address anchorer_) external onlyOwner {
        _setAnchorer(anchorer_);
    }

    /// @param batchId greater than every one before, below 2^48.
    /// @param treeSize number of leaves under the root, greater than every one before, below 2^40.
    function anchor(uint256 batchId, uint256 treeSize, bytes32 root) external {
        if (msg.sender != anchorer) revert NotAnchorer(msg.sender);
        if (batchId <= _latestBatchId || batchId > type(uint48).max) {
            revert BatchIdNotIncreasing(_latestBatchId, batchId);
        }
        if (treeSize <= _latestTreeSize || treeSize > type(uint40).max) {
            revert TreeSizeNotIncreasing(_latestTreeSize, treeSize);
        }
        if (root == 0) revert EmptyRoot();
        _latestBatchId = uint48(batchId);
        _latestTreeSize = uint40(treeSize);
        _latestRoot = root;
        _anchors[batchId] = (uint256(root) & PREFIX_MASK) | (block.number << 40) | treeSize;
        emit Anchored(batchId, treeSize, root);
    }

    /// @return treeSize zero, as the other two, for a batch that was not anchored.
    function anchors(uint256 batchId) public view returns (uint256 treeSize, bytes22 rootPrefix, uint256 blockNumber) {
        uint256 kept = _anchors[batchId];
        return (uint40(kept), bytes22(bytes32(kept)), uint40(kept >> 40));
    }

    /// @return batchId zero, as the other three, before the first anchor.
    function latest() external view returns (uint256 batchId, uint256 treeSize, bytes32 root, uint256 blockNumber) {
        batchId = _latestBatchId;
        if (batchId == 0) return (0, 0, 0, 0);
        (treeSize,, blockNumber) = anchors(batchId);
        root = _latestRoot;
    }

    function _setAnchorer(address anchorer_) private {
        anchorer = anchorer_;
        emit AnchorerSet(anchorer_);
    }
}
