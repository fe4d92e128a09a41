// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFXCompliance, IRule, IWalletStatus} from "./interfaces/IFinTokenX.sol";

/// @notice The master compliance contract. Asks the identity registry for both wallets, then the four rules, in this
/// order; the first refusal decides:
///
///   1  both wallets verified          "wallet not verified"
///   2  JurisdictionRule, receiver     "missing claim: KYC_VERIFIED" | "… AML_CLEARED" | "… JURISDICTION_UK"
///   3  MiFIDRule, receiver            "MiFID classification required"
///   4  LockupRule, token id           "token locked"
///   5  SanctionsRule, both            "sanctions"
///
/// The parts are fixed at deployment, which saves a storage read for each of them on every transfer. To change a
/// rule, deploy another compliance contract and set it on the token.
contract FXComplianceModularised is IFXCompliance {
    IWalletStatus private immutable _registry;
    IRule private immutable _jurisdictionRule;
    IRule private immutable _mifidRule;
    IRule private immutable _lockupRule;
    IRule private immutable _sanctionsRule;

    bytes32 private constant OK = "ok";
    bytes32 private constant NOT_VERIFIED = "wallet not verified";

    error WrongRule(address rule, string expected);
    error NotAnIdentityRegistry(address account);

    constructor(
        address identityRegistry_,
        address jurisdictionRule,
        address mifidRule,
        address lockupRule,
        address sanctionsRule
    ) {
        if (identityRegistry_.code.length == 0) revert NotAnIdentityRegistry(identityRegistry_);
        _registry = IWalletStatus(identityRegistry_);
        _jurisdictionRule = _named(jurisdictionRule, "JurisdictionRule");
        _mifidRule = _named(mifidRule, "MiFIDRule");
        _lockupRule = _named(lockupRule, "LockupRule");
        _sanctionsRule = _named(sanctionsRule, "SanctionsRule");
    }

    /// @notice Whether the rules let this transfer pass, and why not. Pauses, freezes and balances are the token's.
    function canTransfer(address from, address to, uint256 id, uint256 amount) external view returns (bool, bytes32) {
        (uint256 fromStatus, uint256 toStatus) = _registry.liveStatuses(from, to);
        if (fromStatus == 0 || toStatus == 0) return (false, NOT_VERIFIED);
        bytes32 reason = _jurisdictionRule.refusal(from, to, id, amount, fromStatus, toStatus);
        if (reason != 0) return (false, reason);
        reason = _mifidRule.refusal(from, to, id, amount, fromStatus, toStatus);
        if (reason != 0) return (false, reason);
        reason = _lockupRule.refusal(from, to, id, amount, fromStatus, toStatus);
        if (reason != 0) return (false, reason);
        reason = _sanctionsRule.refusal(from, to, id, amount, fromStatus, toStatus);
        if (reason != 0) return (false, reason);
        return (true, OK);
    }

    /// @notice Whether canTransfer lets all of these pass: registry and rules are asked once each, not once a transfer.
    function allowsBatch(address from, address[] calldata tos, uint256[] calldata ids, uint256[] calldata amounts)
        external
        view
        returns (bool)
    {
        (uint256 fromStatus, uint256[] memory toStatuses) = _registry.liveStatusesOfBatch(from, tos);
        if (fromStatus == 0) return false;
        for (uint256 i = 0; i < toStatuses.length; ++i) {
            if (toStatuses[i] == 0) return false;
        }
        return _jurisdictionRule.allowsBatch(from, tos, ids, amounts, fromStatus, toStatuses)
            && _mifidRule.allowsBatch(from, tos, ids, amounts, fromStatus, toStatuses)
            && _lockupRule.allowsBatch(from, tos, ids, amounts, fromStatus, toStatuses)
            && _sanctionsRule.allowsBatch(from, tos, ids, amounts, fromStatus, toStatuses);
    }

    /// @notice Whether the account may send at all: rules 1 and 5.
    function canSend(address account) external view returns (bool, bytes32) {
        (uint256 status,) = _registry.liveStatuses(account, account);
        if (status == 0) return (false, NOT_VERIFIED);
        bytes32 reason = _sanctionsRule.refusal(account, account, 0, 0, status, status);
        return reason == 0 ? (true, OK) : (false, reason);
    }

    /// @notice Whether the account may receive at all: rules 1, 2, 3 and 5.
    function canReceive(address account) external view returns (bool, bytes32) {
        (, uint256 status) = _registry.liveStatuses(account, account);
        if (status == 0) return (false, NOT_VERIFIED);
        bytes32 reason = _jurisdictionRule.refusal(account, account, 0, 0, status, status);
        if (reason != 0) return (false, reason);
        reason = _mifidRule.refusal(account, account, 0, 0, status, status);
        if (reason != 0) return (false, reason);
        reason = _sanctionsRule.refusal(account, account, 0, 0, status, status);
        return reason == 0 ? (true, OK) : (false, reason);
    }

    function identityRegistry() external view returns (address) {
        return address(_registry);
    }

    /// @return rules the four rules in the order in which they are asked; each tells its name().
    function getRules() external view returns (address[] memory rules) {
        rules = new address[](4);
        rules[0] = address(_jurisdictionRule);
        rules[1] = address(_mifidRule);
        rules[2] = address(_lockupRule);
        rules[3] = address(_sanctionsRule);
    }

    /// @dev Two swapped rules would change the order of reasons in silence; the names catch it at deployment.
    function _named(address rule, string memory expected) private view returns (IRule) {
        if (rule.code.length == 0 || keccak256(bytes(IRule(rule).name())) != keccak256(bytes(expected))) {
            revert WrongRule(rule, expected);
        }
        return IRule(rule);
    }
}
