// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgentRole} from "../access/AgentRole.sol";
import {ISanctionsRule} from "../interfaces/IFinTokenX.sol";

/// @notice Refuses while either wallet is flagged, and refuses everything while the list was never confirmed or its
/// last confirmation is older than the maximum age: no news is not good news. The agent is the updater.
contract SanctionsRule is AgentRole, ISanctionsRule {
    uint64 public immutable maxAgeSeconds;

    /// @notice Unix seconds as of which the flags were last confirmed as complete; zero before the first.
    uint64 public updatedAt;

    mapping(address wallet => bool) public isFlagged;

    event Refreshed(uint64 updatedAt);
    event FlagSet(address indexed wallet, bool flagged);

    error ZeroMaxAge();
    error AsOfInFuture(uint64 asOf);

    constructor(uint64 maxAgeSeconds_, address owner_, address agent_) AgentRole(owner_, agent_) {
        if (maxAgeSeconds_ == 0) revert ZeroMaxAge();
        maxAgeSeconds = maxAgeSeconds_;
    }

    /// @notice Confirms that the flags were complete at a moment that a block had reached: before the lists were asked.
    /// So a confirmation that is mined late is as old as its screening, and one older than the last changes nothing.
    /// Setting a flag confirms nothing: it is news of one wallet.
    function refresh(uint64 asOf) external onlyAgent {
        if (asOf > block.timestamp) revert AsOfInFuture(asOf);
        if (asOf <= updatedAt) return;
        updatedAt = asOf;
        emit Refreshed(asOf);
    }

    function setFlagged(address wallet, bool flagged) external onlyAgent {
        isFlagged[wallet] = flagged;
        emit FlagSet(wallet, flagged);
    }

    function isStale() public view returns (bool) {
        uint256 confirmed = updatedAt;
        return confirmed == 0 || block.timestamp > confirmed + maxAgeSeconds;
    }

    function refuses(address from, address to) external view returns (bool) {
        return isStale() || isFlagged[from] || isFlagged[to];
    }

    function refusesAny(address from, address[] calldata tos) external view returns (bool) {
        if (isStale() || isFlagged[from]) return true;
        for (uint256 i = 0; i < tos.length; ++i) {
            if (isFlagged[tos[i]]) return true;
        }
        return false;
    }

    function name() external pure returns (string memory) {
        return "SanctionsRule";
    }
}
