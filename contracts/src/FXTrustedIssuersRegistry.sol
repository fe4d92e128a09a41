// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "./Claims.sol";
import {Owned} from "./access/Owned.sol";
import {IERC165} from "./interfaces/IERC165.sol";
import {IERC173} from "./interfaces/IERC173.sol";
import {ITrustedIssuersRegistry} from "./interfaces/IERC3643Registries.sol";
import {IActiveIssuer, IIssuerListener} from "./interfaces/IFinTokenX.sol";

/// @notice The single trusted issuer of claims, FinToken X, known by the address of its signing key.
/// Every change is told to the identity registry, which thereby voids every claim signed before: to replace a key,
/// remove the old one, add the new one, and let the agent renew the wallets. Telling once is cheaper than being asked
/// at every transfer; it is safe because there is no issuer before the registry is bound, and a bond is for ever.
contract FXTrustedIssuersRegistry is Owned, IERC165, ITrustedIssuersRegistry, IActiveIssuer {
    address private _issuer;
    uint32 private _claims;

    /// @notice The registry that is told of changes; zero before it is bound.
    address public identityRegistry;

    event IdentityRegistryBound(address indexed identityRegistry);

    error IssuerAlreadySet(address issuer);
    error NotTrustedIssuer(address issuer);
    error NoTopics();
    error NotBound();
    error AlreadyBound(address identityRegistry);
    error ForeignRegistry(address identityRegistry);

    constructor(address owner_) Owned(owner_) {}

    /// @notice Binds the identity registry, once. It must already point to this contract.
    function bindIdentityRegistry(address identityRegistry_) external onlyOwner {
        if (identityRegistry != address(0)) revert AlreadyBound(identityRegistry);
        _requireContract(identityRegistry_);
        if (IIssuerListener(identityRegistry_).issuersRegistry() != address(this)) {
            revert ForeignRegistry(identityRegistry_);
        }
        identityRegistry = identityRegistry_;
        emit IdentityRegistryBound(identityRegistry_);
    }

    function addTrustedIssuer(address trustedIssuer, uint256[] calldata claimTopics) external onlyOwner {
        if (trustedIssuer == address(0)) revert ZeroAddress();
        if (_issuer != address(0)) revert IssuerAlreadySet(_issuer);
        _issuer = trustedIssuer;
        _setTopics(claimTopics);
        emit TrustedIssuerAdded(trustedIssuer, claimTopics);
    }

    function removeTrustedIssuer(address trustedIssuer) external onlyOwner {
        _requireIssuer(trustedIssuer);
        _issuer = address(0);
        _claims = 0;
        _tell();
        emit TrustedIssuerRemoved(trustedIssuer);
    }

    function updateIssuerClaimTopics(address trustedIssuer, uint256[] calldata claimTopics) external onlyOwner {
        _requireIssuer(trustedIssuer);
        _setTopics(claimTopics);
        emit ClaimTopicsUpdated(trustedIssuer, claimTopics);
    }

    function getTrustedIssuers() external view returns (address[] memory) {
        return _listIf(_issuer != address(0));
    }

    function getTrustedIssuersForClaimTopic(uint256 claimTopic) external view returns (address[] memory) {
        return _listIf(_claims & Claims.bitOf(claimTopic) != 0);
    }

    function isTrustedIssuer(address issuer) public view returns (bool) {
        return issuer != address(0) && issuer == _issuer;
    }

    function getTrustedIssuerClaimTopics(address trustedIssuer) external view returns (uint256[] memory) {
        _requireIssuer(trustedIssuer);
        return Claims.topicsOf(_claims);
    }

    function hasClaimTopic(address issuer, uint256 claimTopic) external view returns (bool) {
        return isTrustedIssuer(issuer) && _claims & Claims.bitOf(claimTopic) != 0;
    }

    function activeIssuer() external view returns (address, uint32, address) {
        return (_issuer, _claims, identityRegistry);
    }

    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IERC173).interfaceId
            || interfaceId == type(ITrustedIssuersRegistry).interfaceId;
    }

    function _setTopics(uint256[] calldata claimTopics) private {
        if (claimTopics.length == 0) revert NoTopics();
        _claims = Claims.bitmapOf(claimTopics);
        _tell();
    }

    /// @dev A registry that has moved on to another issuers registry no longer listens, nor needs to.
    function _tell() private {
        if (identityRegistry == address(0)) revert NotBound();
        IIssuerListener registry = IIssuerListener(identityRegistry);
        if (registry.issuersRegistry() == address(this)) registry.issuerChanged();
    }

    function _requireIssuer(address issuer) private view {
        if (!isTrustedIssuer(issuer)) revert NotTrustedIssuer(issuer);
    }

    function _listIf(bool listed) private view returns (address[] memory issuers) {
        issuers = new address[](listed ? 1 : 0);
        if (listed) issuers[0] = _issuer;
    }
}
