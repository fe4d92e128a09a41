// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "./Claims.sol";
import {IClaimTopicsRegistry} from "./interfaces/IERC3643Registries.sol";
import {IERC165} from "./interfaces/IERC165.sol";

/// @notice The list of claim topics: exactly five, for ever. It has no owner because nobody may change it; the two
/// functions by which ERC-3643 changes the list are there and always refuse.
contract FXClaimsTopicRegistry is IERC165, IClaimTopicsRegistry {
    error TopicsAreFixed();

    constructor() {
        for (uint256 index = 0; index < Claims.COUNT; ++index) {
            emit ClaimTopicAdded(Claims.topicAt(index));
        }
    }

    function addClaimTopic(uint256) external pure {
        revert TopicsAreFixed();
    }

    function removeClaimTopic(uint256) external pure {
        revert TopicsAreFixed();
    }

    function getClaimTopics() external pure returns (uint256[] memory) {
        return Claims.topicsOf(Claims.ALL);
    }

    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IClaimTopicsRegistry).interfaceId;
    }
}
