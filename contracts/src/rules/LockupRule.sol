// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgentRole} from "../access/AgentRole.sol";
import {ILockupRule} from "../interfaces/IFinTokenX.sol";

/// @notice A token id may be locked for a time, as for a cooling-off after funding. No id is locked by default.
contract LockupRule is AgentRole, ILockupRule {
    mapping(uint256 id => uint64) public lockedUntil;

    event LockSet(uint256 indexed id, uint64 lockedUntil);

    constructor(address owner_, address agent_) AgentRole(owner_, agent_) {}

    /// @param until Unix seconds; from that second on the id is free. Zero unlocks at once.
    function setLock(uint256 id, uint64 until) external onlyAgent {
        lockedUntil[id] = until;
        emit LockSet(id, until);
    }

    function isLocked(uint256 id) public view returns (bool) {
        return block.timestamp < lockedUntil[id];
    }

    function isAnyLocked(uint256[] calldata ids) external view returns (bool) {
        for (uint256 i = 0; i < ids.length; ++i) {
            if (isLocked(ids[i])) return true;
        }
        return false;
    }

    function name() external pure returns (string memory) {
        return "LockupRule";
    }
}
