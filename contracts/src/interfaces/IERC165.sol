// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice ERC-165: which interfaces a contract implements.
interface IERC165 {
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
}
