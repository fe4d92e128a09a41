// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The five claims: the bit that stands for each in a claims bitmap, and its ERC-3643 topic number.
/// A topic number is the claim's name in ASCII, left-aligned in 32 bytes, so that a reader of the chain sees the name.
library Claims {
    uint32 internal constant KYC_VERIFIED = 1;
    uint32 internal constant AML_CLEARED = 2;
    uint32 internal constant JURISDICTION_UK = 4;
    uint32 internal constant MIFID_PROFESSIONAL = 8;
    uint32 internal constant MIFID_ECP = 16;

    uint32 internal constant ALL = 31;
    uint256 internal constant COUNT = 5;

    error UnknownTopic(uint256 topic);
    error UnknownClaims(uint32 claims);

    /// @param index 0 to 4, in the order of the bits.
    function topicAt(uint256 index) internal pure returns (uint256) {
        if (index == 0) return uint256(bytes32("KYC_VERIFIED"));
        if (index == 1) return uint256(bytes32("AML_CLEARED"));
        if (index == 2) return uint256(bytes32("JURISDICTION_UK"));
        if (index == 3) return uint256(bytes32("MIFID_PROFESSIONAL"));
        return uint256(bytes32("MIFID_ECP"));
    }

    /// @return The claim's bit, zero for a topic that is none of the five.
    function bitOf(uint256 topic) internal pure returns (uint32) {
        for (uint256 index = 0; index < COUNT; ++index) {
            if (topicAt(index) == topic) return uint32(1 << index);
        }
        return 0;
    }

    function bitmapOf(uint256[] calldata topics) internal pure returns (uint32 bitmap) {
        for (uint256 i = 0; i < topics.length; ++i) {
            uint32 bit = bitOf(topics[i]);
            if (bit == 0) revert UnknownTopic(topics[i]);
            bitmap |= bit;
        }
    }

    function topicsOf(uint32 bitmap) internal pure returns (uint256[] memory topics) {
        uint256 count;
        for (uint256 index = 0; index < COUNT; ++index) {
            if (bitmap & (1 << index) != 0) ++count;
        }
        topics = new uint256[](count);
        count = 0;
        for (uint256 index = 0; index < COUNT; ++index) {
            if (bitmap & (1 << index) != 0) topics[count++] = topicAt(index);
        }
    }
}
