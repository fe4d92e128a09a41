// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgentRole} from "../access/AgentRole.sol";
import {IRule} from "../interfaces/IFinTokenX.sol";

/// @notice A token id may be locked for a time, as for a cooling-off after funding. No id is locked by default.
contract LockupRule is AgentRole, IRule {
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

    function name() external pure returns (string memory) {
        return "LockupRule";
    }

    function refusal(address, address, uint256 id, uint256, uint256, uint256) external view returns (bytes32) {
        if (isLocked(id)) return "token locked";
        return 0;
    }

    function allowsBatch(
        address,
        address[] calldata,
        uint256[] calldata ids,
        uint256[] calldata,
        uint256,
        uint256[] calldata
    ) external view returns (bool) {
        for (uint256 i = 0; i < ids.length; ++i) {
            if (isLocked(ids[i])) return false;
        }
        return true;
    }
}
