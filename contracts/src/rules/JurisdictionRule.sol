// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../Claims.sol";
import {StatusWord} from "../StatusWord.sol";
import {IRule} from "../interfaces/IFinTokenX.sol";

/// @notice The receiver must hold KYC_VERIFIED, AML_CLEARED and JURISDICTION_UK; the first one missing is named.
contract JurisdictionRule is IRule {
    function name() external pure returns (string memory) {
        return "JurisdictionRule";
    }

    function allowsBatch(
        address,
        address[] calldata,
        uint256[] calldata,
        uint256[] calldata,
        uint256,
        uint256[] calldata toStatuses
    ) external pure returns (bool) {
        uint32 needed = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK;
        for (uint256 i = 0; i < toStatuses.length; ++i) {
            if (StatusWord.claims(toStatuses[i]) & needed != needed) return false;
        }
        return true;
    }

    function refusal(address, address, uint256, uint256, uint256, uint256 toStatus) external pure returns (bytes32) {
        uint32 claims = StatusWord.claims(toStatus);
        if (claims & Claims.KYC_VERIFIED == 0) return "missing claim: KYC_VERIFIED";
        if (claims & Claims.AML_CLEARED == 0) return "missing claim: AML_CLEARED";
        if (claims & Claims.JURISDICTION_UK == 0) return "missing claim: JURISDICTION_UK";
        return 0;
    }
}
