// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Everything that a transfer must know of a wallet, in one storage slot.
///
///   bits    0 –  31  claims bitmap (Claims.sol)
///   bit          32  the subject is an investor (MiFID classification required to receive)
///   bit          33  the wallet is registered
///   bits   48 –  63  country, ISO 3166-1 numeric
///   bits   64 – 127  expiry of the claims, Unix seconds; at that second they are void
///   bits  128 – 191  issuer generation under which the claims were signed
///   bits  192 – 223  nonce: number of changes so far, survives the wallet's removal
library StatusWord {
    uint256 internal constant INVESTOR = 1 << 32;
    uint256 internal constant REGISTERED = 1 << 33;

    function pack(
        uint32 claims_,
        bool isInvestor_,
        uint16 country_,
        uint64 expiresAt_,
        uint64 generation_,
        uint32 nonce_
    ) internal pure returns (uint256) {
        return uint256(claims_) | (isInvestor_ ? INVESTOR : 0) | REGISTERED | (uint256(country_) << 48)
            | (uint256(expiresAt_) << 64) | (uint256(generation_) << 128) | (uint256(nonce_) << 192);
    }

    /// @return A word that remembers the nonce and nothing else.
    function unregistered(uint32 nonce_) internal pure returns (uint256) {
        return uint256(nonce_) << 192;
    }

    function claims(uint256 word) internal pure returns (uint32) {
        return uint32(word);
    }

    function isInvestor(uint256 word) internal pure returns (bool) {
        return word & INVESTOR != 0;
    }

    function isRegistered(uint256 word) internal pure returns (bool) {
        return word & REGISTERED != 0;
    }

    function country(uint256 word) internal pure returns (uint16) {
        return uint16(word >> 48);
    }

    function expiresAt(uint256 word) internal pure returns (uint64) {
        return uint64(word >> 64);
    }

    function generation(uint256 word) internal pure returns (uint64) {
        return uint64(word >> 128);
    }

    function nonce(uint256 word) internal pure returns (uint32) {
        return uint32(word >> 192);
    }
}
