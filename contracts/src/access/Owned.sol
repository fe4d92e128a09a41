// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC173} from "../interfaces/IERC173.sol";

/// @notice ERC-173 ownership handed over in two steps: a mistyped new owner cannot take the contract away,
/// because nothing changes until the new owner accepts. Offering to the zero address withdraws an offer.
abstract contract Owned is IERC173 {
    address public owner;
    address public pendingOwner;

    event OwnershipOffered(address indexed owner, address indexed pendingOwner);

    error NotOwner(address account);
    error NotPendingOwner(address account);
    error ZeroAddress();
    error NoContractAt(address account);

    constructor(address owner_) {
        if (owner_ == address(0)) revert ZeroAddress();
        owner = owner_;
        emit OwnershipTransferred(address(0), owner_);
    }

    modifier onlyOwner() {
        _requireOwner();
        _;
    }

    function transferOwnership(address newOwner) external onlyOwner {
        pendingOwner = newOwner;
        emit OwnershipOffered(owner, newOwner);
    }

    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert NotPendingOwner(msg.sender);
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }

    function _requireOwner() private view {
        if (msg.sender != owner) revert NotOwner(msg.sender);
    }

    /// @dev Calls to an address without code succeed silently at the EVM level; wiring must refuse them.
    function _requireContract(address account) internal view {
        if (account.code.length == 0) revert NoContractAt(account);
    }
}
