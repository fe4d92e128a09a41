// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../Claims.sol";
import {StatusWord} from "../StatusWord.sol";

/// @notice A receiver that is an investor must be a professional client or an eligible counterparty.
/// A function of the status word and nothing else, so it is compiled into the compliance contract: no call of its own.
library MiFIDRule {
    string internal constant NAME = "MiFIDRule";

    /// @param toStatus status word of a receiver that is verified.
    /// @return Zero to let the transfer pass, else the reason of the refusal in ASCII.
    function refusal(uint256 toStatus) internal pure returns (bytes32) {
        bool fits = !StatusWord.isInvestor(toStatus)
            || StatusWord.claims(toStatus) & (Claims.MIFID_PROFESSIONAL | Claims.MIFID_ECP) != 0;
        return fits ? bytes32(0) : bytes32("MiFID classification required");
    }
}
