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
        if (!_fits(toStatus)) return "MiFID classification required";
        return 0;
    }

    function allowsBatch(
        address,
        address[] calldata,
        uint256[] calldata,
        uint256[] calldata,
        uint256,
        uint256[] calldata toStatuses
    ) external pure returns (bool) {
        for (uint256 i = 0; i < toStatuses.length; ++i) {
            if (!_fits(toStatuses[i])) return false;
        }
        return true;
    }

    function _fits(uint256 status) private pure returns (bool) {
        return !StatusWord.isInvestor(status)
            || StatusWord.claims(status) & (Claims.MIFID_PROFESSIONAL | Claims.MIFID_ECP) != 0;
    }
}
