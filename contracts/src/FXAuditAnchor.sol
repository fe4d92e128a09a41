// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Owned} from "./access/Owned.sol";

/// @notice Keeps the Merkle roots of the audit log: what was anchored is never changed and never removed. The log is
/// one growing tree (RFC 6962), so each anchor must cover more leaves than the one before.
contract FXAuditAnchor is Owned {
    uint256 private constant BATCHES_PER_SLOT = 3;
    uint256 private constant BITS_PER_BATCH = 80;

    mapping(uint256 batchId => bytes32) private _roots;

    /// @dev Tree size and block number, 40 bits each, of three successive batch ids in one slot: two anchors of three
    /// then change a slot instead of filling a new one, which is 17,100 gas less.
    mapping(uint256 slot => uint256) private _positions;

    /// @dev One slot with the latest anchor, all that anchoring must know.
    address public anchorer;
    uint48 private _latestBatchId;
    uint40 private _latestTreeSize;

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
        _roots[batchId] = root;
        _positions[batchId / BATCHES_PER_SLOT] |= ((block.number << 40) | treeSize) << _shift(batchId);
        emit Anchored(batchId, treeSize, root);
    }

    /// @return treeSize zero, as the other two, for a batch that was not anchored.
    function anchors(uint256 batchId) public view returns (uint256 treeSize, bytes32 root, uint256 blockNumber) {
        uint256 position = _positions[batchId / BATCHES_PER_SLOT] >> _shift(batchId);
        return (uint40(position), _roots[batchId], uint40(position >> 40));
    }

    /// @return batchId zero, as the other three, before the first anchor.
    function latest() external view returns (uint256 batchId, uint256 treeSize, bytes32 root, uint256 blockNumber) {
        batchId = _latestBatchId;
        (treeSize, root, blockNumber) = anchors(batchId);
    }

    function _setAnchorer(address anchorer_) private {
        anchorer = anchorer_;
        emit AnchorerSet(anchorer_);
    }

    function _shift(uint256 batchId) private pure returns (uint256) {
        return (batchId % BATCHES_PER_SLOT) * BITS_PER_BATCH;
    }
}
