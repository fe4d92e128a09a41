// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgentRole} from "../access/AgentRole.sol";
import {ISanctionsRule} from "../interfaces/IFinTokenX.sol";

/// @notice Refuses while either wallet is flagged, and refuses everything while the list was never confirmed or its
/// last confirmation is older than the maximum age: no news is not good news. The agent is the updater.
contract SanctionsRule is AgentRole, ISanctionsRule {
    uint64 public immutable maxAgeSeconds;

    /// @notice Unix seconds of the last confirmation that the flags are complete; zero before the first.
    uint64 public updatedAt;

    mapping(address wallet => bool) public isFlagged;

    event Refreshed(uint64 updatedAt);
    event FlagSet(address indexed wallet, bool flagged);

    error ZeroMaxAge();

    constructor(uint64 maxAgeSeconds_, address owner_, address agent_) AgentRole(owner_, agent_) {
        if (maxAgeSeconds_ == 0) revert ZeroMaxAge();
        maxAgeSeconds = maxAgeSeconds_;
    }

    /// @notice Confirms that the flags are complete as of this block. Setting a flag does not: it is news of one wallet.
    function refresh() external onlyAgent {
        updatedAt = uint64(block.timestamp);
        emit Refreshed(updatedAt);
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
