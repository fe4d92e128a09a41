// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What the identity registry asks of the issuers registry beyond ERC-3643.
interface IActiveIssuer {
    /// @return issuer the trusted signer, zero when there is none.
    /// @return claims bitmap of the claims that the issuer may sign.
    /// @return identityRegistry the one registry that is told of every change.
    function activeIssuer() external view returns (address issuer, uint32 claims, address identityRegistry);
}

/// @notice What the issuers registry tells the identity registry.
interface IIssuerListener {
    /// @notice The issuer or its topics changed: every claim signed before is void.
    function issuerChanged() external;

    function issuersRegistry() external view returns (address);
}

/// @notice What the compliance contract and the token ask of the identity registry beyond ERC-3643.
interface IWalletStatus {
    /// @return The status word (layout in StatusWord.sol) of each wallet, or zero for one that is not verified now.
    function liveStatuses(address from, address to) external view returns (uint256, uint256);

    /// @return fromStatus as liveStatuses gives it.
    /// @return toStatuses one for each receiver.
    function liveStatusesOfBatch(address from, address[] calldata tos)
        external
        view
        returns (uint256 fromStatus, uint256[] memory toStatuses);

    function subjectOf(address wallet) external view returns (bytes32);
}

/// @notice A rule that keeps a state of its own, and so is a contract of its own. The others are libraries in src/rules.
interface IStatefulRule {
    function name() external view returns (string memory);
}

interface ILockupRule is IStatefulRule {
    function isLocked(uint256 id) external view returns (bool);
    function isAnyLocked(uint256[] calldata ids) external view returns (bool);
}

interface ISanctionsRule is IStatefulRule {
    /// @return Whether either is flagged, or the list cannot be relied on.
    function refuses(address from, address to) external view returns (bool);

    /// @return Whether refuses(from, …) is true for any of the receivers; of none, what it says of the sender.
    function refusesAny(address from, address[] calldata tos) external view returns (bool);
}

/// @notice What the token asks of its compliance contract. Reasons are ASCII, "ok" when allowed.
interface IFXCompliance {
    function canTransfer(address from, address to, uint256 id, uint256 amount)
        external
        view
        returns (bool allowed, bytes32 reason);
    /// @return Whether canTransfer lets every one of these transfers pass; which one not, and why, tells canTransfer.
    function allowsBatch(address from, address[] calldata tos, uint256[] calldata ids, uint256[] calldata amounts)
        external
        view
        returns (bool);
    function canSend(address account) external view returns (bool allowed, bytes32 reason);
    function canReceive(address account) external view returns (bool allowed, bytes32 reason);
    function identityRegistry() external view returns (address);
}
