// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAgentRole} from "../interfaces/IAgentRole.sol";
import {Owned} from "./Owned.sol";

/// @notice The agent: the account that operates a contract day by day, named and dismissed by the owner.
abstract contract AgentRole is Owned, IAgentRole {
    mapping(address => bool) private _agents;

    error NotAgent(address account);

    /// @param agent_ first agent; the zero address names none.
    constructor(address owner_, address agent_) Owned(owner_) {
        if (agent_ != address(0)) _addAgent(agent_);
    }

    modifier onlyAgent() {
        _requireAgent();
        _;
    }

    function addAgent(address agent) external onlyOwner {
        if (agent == address(0)) revert ZeroAddress();
        _addAgent(agent);
    }

    function removeAgent(address agent) external onlyOwner {
        if (!_agents[agent]) revert NotAgent(agent);
        _agents[agent] = false;
        emit AgentRemoved(agent);
    }

    function isAgent(address agent) external view returns (bool) {
        return _agents[agent];
    }

    function _addAgent(address agent) private {
        _agents[agent] = true;
        emit AgentAdded(agent);
    }

    function _requireAgent() private view {
        if (!_agents[msg.sender]) revert NotAgent(msg.sender);
    }
}
