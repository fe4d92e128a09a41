// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../Claims.sol";
import {StatusWord} from "../StatusWord.sol";

/// @notice The receiver must hold KYC_VERIFIED, AML_CLEARED and JURISDICTION_UK; the first one missing is named.
/// A function of the status word and nothing else, so it is compiled into the compliance contract: no call of its own.
library JurisdictionRule {
    string internal constant NAME = "JurisdictionRule";

    /// @param toStatus status word of a receiver that is verified.
    /// @return Zero to let the transfer pass, else the reason of the refusal in ASCII.
    function refusal(uint256 toStatus) internal pure returns (bytes32) {
        uint32 claims = StatusWord.claims(toStatus);
        if (claims & Claims.KYC_VERIFIED == 0) return "missing claim: KYC_VERIFIED";
        if (claims & Claims.AML_CLEARED == 0) return "missing claim: AML_CLEARED";
        if (claims & Claims.JURISDICTION_UK == 0) return "missing claim: JURISDICTION_UK";
        return 0;
    }
}
