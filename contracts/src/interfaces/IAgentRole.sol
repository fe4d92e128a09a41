// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The agent role as ERC-3643 prescribes it (interface id 0x0cba0fa8).
interface IAgentRole {
    event AgentAdded(address indexed agent);
    event AgentRemoved(address indexed agent);

    function addAgent(address agent) external;
    function removeAgent(address agent) external;
    function isAgent(address agent) external view returns (bool);
}
