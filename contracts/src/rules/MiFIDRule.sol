// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../Claims.sol";
import {StatusWord} from "../StatusWord.sol";
import {IRule} from "../interfaces/IFinTokenX.sol";

/// @notice A receiver that is an investor must be a professional client or an eligible counterparty.
contract MiFIDRule is IRule {
    function name() external pure returns (string memory) {
        return "MiFIDRule";
    }

    function refusal(address, address, uint256, uint256, uint256, uint256 toStatus) external pure returns (bytes32) {
        bool classified = StatusWord.claims(toStatus) & (Claims.MIFID_PROFESSIONAL | Claims.MIFID_ECP) != 0;
        if (StatusWord.isInvestor(toStatus) && !classified) return "MiFID classification required";
        return 0;
    }
}
