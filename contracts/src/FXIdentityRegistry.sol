// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "./Claims.sol";
import {StatusWord} from "./StatusWord.sol";
import {AgentRole} from "./access/AgentRole.sol";
import {IAgentRole} from "./interfaces/IAgentRole.sol";
import {IERC165} from "./interfaces/IERC165.sol";
import {IERC173} from "./interfaces/IERC173.sol";
import {IIdentityRegistry} from "./interfaces/IERC3643Registries.sol";
import {IActiveIssuer, IIssuerListener, IWalletStatus} from "./interfaces/IFinTokenX.sol";

/// @notice Maps wallets to verified subjects. A claim's signature by the trusted issuer is checked once, when the
/// wallet is registered or renewed, and its content kept as one status word (StatusWord.sol); a transfer then reads
/// that word instead of checking signatures. The word still dies at once: by expiry, by a change of the issuer (its
/// generation no longer matches), and by revocation (the word is overwritten).
///
/// A wallet is *verified* while it is registered, holds at least one claim, the claims have not expired, and the
/// issuer's generation is the one under which they were signed. Which claims a transfer needs is for the rules.
///
/// The issuer signs this EIP-712 digest:
///
///   digest = keccak256(0x1901 ‖ domainSeparator ‖ structHash)
///   domainSeparator = keccak256(abi.encode(
///       keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
///       keccak256("FXIdentityRegistry"), keccak256("1"), chainId, address of this registry))
///   structHash = keccak256(abi.encode(
///       keccak256("WalletClaims(address wallet,bytes32 subjectHash,uint16 country,uint32 claims,bool isInvestor,
///                  uint64 expiresAt,uint64 issuerGeneration,uint32 nonce)"),   // no spaces, one line
///       wallet, subjectHash, country, claims, isInvestor, expiresAt, issuerGeneration(), nonceOf(wallet)))
///
/// The signature is 65 bytes r ‖ s ‖ v with s in the lower half of the curve order and v 27 or 28. The nonce makes
/// each signature usable once, and every other change of the wallet's entry makes unused signatures void.
contract FXIdentityRegistry is AgentRole, IERC165, IIdentityRegistry, IIssuerListener, IWalletStatus {
    using StatusWord for uint256;

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant CLAIMS_TYPEHASH = keccak256(
        "WalletClaims(address wallet,bytes32 subjectHash,uint16 country,uint32 claims,bool isInvestor,uint64 expiresAt,uint64 issuerGeneration,uint32 nonce)"
    );
    bytes32 private constant NAME_HASH = keccak256("FXIdentityRegistry");
    bytes32 private constant VERSION_HASH = keccak256("1");
    uint256 private constant HALF_CURVE_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @dev What the issuer signs, field by field as in the type hash.
    struct WalletClaims {
        address wallet;
        bytes32 subjectHash;
        uint16 country;
        uint32 claims;
        bool isInvestor;
        uint64 expiresAt;
        uint64 issuerGeneration;
        uint32 nonce;
    }

    mapping(address wallet => uint256) private _words;
    mapping(address wallet => bytes32) private _subjects;

    /// @dev One slot. The generation counts the changes of issuer and of issuers registry.
    IActiveIssuer private _issuersRegistry;
    uint64 public issuerGeneration;

    address private _topicsRegistry;

    event WalletStatusSet(
        address indexed wallet,
        bytes32 indexed subjectHash,
        uint32 claims,
        bool isInvestor,
        uint64 expiresAt,
        uint64 issuerGeneration,
        uint32 nonce
    );

    error InvalidSubject();
    error WalletNotRegistered(address wallet);
    error WalletAlreadyRegistered(address wallet);
    error WalletOfAnotherSubject(address wallet);
    error ClaimsExpired(uint64 expiresAt);
    error IssuerMayNotSign(uint32 claims);
    error NoTrustedIssuer();
    error NotIssuersRegistry(address account);
    error IssuersRegistryNotBound();
    error InvalidIssuerSignature();
    error StorageIsBuiltIn();
    error LengthMismatch();

    constructor(address topicsRegistry_, address issuersRegistry_, address owner_, address agent_)
        AgentRole(owner_, agent_)
    {
        _setTopicsRegistry(topicsRegistry_);
        _setIssuersRegistry(issuersRegistry_);
    }

    /// @notice Registers a wallet with its claims, renews them, or, with `claims` zero, revokes them.
    /// A registered wallet keeps its subject. Revoking needs no signature: the signature and `expiresAt` are then
    /// ignored, and the wallet stays registered with its subject so that it can be renewed or recovered.
    /// @param subjectHash stands for the subject without naming it; never zero.
    /// @param country ISO 3166-1 numeric, 826 for the United Kingdom.
    /// @param claims bitmap, see Claims.sol.
    /// @param expiresAt Unix seconds; the claims are void from that second on.
    /// @param issuerSignature over claimsDigest(...), 65 bytes r ‖ s ‖ v.
    function registerWallet(
        address wallet,
        bytes32 subjectHash,
        uint16 country,
        uint32 claims,
        bool isInvestor,
        uint64 expiresAt,
        bytes calldata issuerSignature
    ) external onlyAgent {
        if (claims & ~Claims.ALL != 0) revert Claims.UnknownClaims(claims);
        uint256 word = _words[wallet];
        if (!word.isRegistered()) {
            _enter(wallet, subjectHash);
        } else if (_subjects[wallet] != subjectHash) {
            revert WalletOfAnotherSubject(wallet);
        }
        WalletClaims memory content = WalletClaims(wallet, subjectHash, country, claims, isInvestor, 0, 0, word.nonce());
        if (claims != 0) {
            content.expiresAt = expiresAt;
            _requireSigned(content, issuerSignature);
        }
        _store(content);
    }

    /// @notice ERC-3643. The wallet gets no claims and is not verified until registerWallet brings signed ones,
    /// which must then name the subject hash `uint256(uint160(identity))`.
    function registerIdentity(address userAddress, address identity_, uint16 country) public onlyAgent {
        if (_words[userAddress].isRegistered()) revert WalletAlreadyRegistered(userAddress);
        bytes32 subjectHash = bytes32(uint256(uint160(identity_)));
        uint32 nonce = _words[userAddress].nonce();
        _enter(userAddress, subjectHash);
        _store(WalletClaims(userAddress, subjectHash, country, 0, false, 0, 0, nonce));
    }

    function batchRegisterIdentity(
        address[] calldata userAddresses,
        address[] calldata identities,
        uint16[] calldata countries
    ) external {
        if (userAddresses.length != identities.length || userAddresses.length != countries.length) {
            revert LengthMismatch();
        }
        for (uint256 i = 0; i < userAddresses.length; ++i) {
            registerIdentity(userAddresses[i], identities[i], countries[i]);
        }
    }

    function deleteIdentity(address userAddress) external onlyAgent {
        uint256 word = _registered(userAddress);
        emit IdentityRemoved(userAddress, identity(userAddress));
        delete _subjects[userAddress];
        _words[userAddress] = StatusWord.unregistered(word.nonce() + 1);
    }

    /// @notice Sets the country and drops the claims: the issuer signed them together with the old country.
    function updateCountry(address userAddress, uint16 country) external onlyAgent {
        uint256 word = _registered(userAddress);
        _store(WalletClaims(userAddress, _subjects[userAddress], country, 0, word.isInvestor(), 0, 0, word.nonce()));
        emit CountryUpdated(userAddress, country);
    }

    /// @notice Gives the wallet to another subject and drops the claims: they were signed for the old subject.
    function updateIdentity(address userAddress, address identity_) external onlyAgent {
        uint256 word = _registered(userAddress);
        if (identity_ == address(0)) revert InvalidSubject();
        emit IdentityUpdated(identity(userAddress), identity_);
        bytes32 subjectHash = bytes32(uint256(uint160(identity_)));
        _subjects[userAddress] = subjectHash;
        _store(WalletClaims(userAddress, subjectHash, word.country(), 0, false, 0, 0, word.nonce()));
    }

    /// @notice ERC-3643 lets several registries share a storage contract; here the registry is its own storage.
    function setIdentityRegistryStorage(address) external view onlyOwner {
        revert StorageIsBuiltIn();
    }

    function setClaimTopicsRegistry(address claimTopicsRegistry) external onlyOwner {
        _setTopicsRegistry(claimTopicsRegistry);
    }

    /// @notice Replaces the issuers registry. Every claim signed before is void.
    function setTrustedIssuersRegistry(address trustedIssuersRegistry) external onlyOwner {
        _setIssuersRegistry(trustedIssuersRegistry);
    }

    /// @notice The issuers registry tells that the issuer or its topics changed: every claim signed before is void.
    function issuerChanged() external {
        if (msg.sender != address(_issuersRegistry)) revert NotIssuersRegistry(msg.sender);
        ++issuerGeneration;
    }

    function contains(address userAddress) external view returns (bool) {
        return _words[userAddress].isRegistered();
    }

    function isVerified(address userAddress) external view returns (bool) {
        return _live(_words[userAddress], issuerGeneration) != 0;
    }

    /// @return The low 20 bytes of the subject hash; zero for a wallet that is not registered.
    function identity(address userAddress) public view returns (address) {
        return address(uint160(uint256(_subjects[userAddress])));
    }

    function investorCountry(address userAddress) external view returns (uint16) {
        return _words[userAddress].country();
    }

    function identityStorage() external view returns (address) {
        return address(this);
    }

    function issuersRegistry() external view override(IIdentityRegistry, IIssuerListener) returns (address) {
        return address(_issuersRegistry);
    }

    function topicsRegistry() external view returns (address) {
        return _topicsRegistry;
    }

    function liveStatuses(address from, address to) external view returns (uint256, uint256) {
        uint64 current = issuerGeneration;
        return (_live(_words[from], current), _live(_words[to], current));
    }

    function liveStatusesOfBatch(address from, address[] calldata tos)
        external
        view
        returns (uint256 fromStatus, uint256[] memory toStatuses)
    {
        uint64 current = issuerGeneration;
        fromStatus = _live(_words[from], current);
        toStatuses = new uint256[](tos.length);
        for (uint256 i = 0; i < tos.length; ++i) {
            toStatuses[i] = _live(_words[tos[i]], current);
        }
    }

    /// @return The stored word, whether or not it is still valid (layout in StatusWord.sol).
    function statusWord(address wallet) external view returns (uint256) {
        return _words[wallet];
    }

    function subjectOf(address wallet) external view returns (bytes32) {
        return _subjects[wallet];
    }

    /// @return The nonce that the next signature for this wallet must carry.
    function nonceOf(address wallet) external view returns (uint32) {
        return _words[wallet].nonce();
    }

    /// @return What the issuer must sign for a call of registerWallet with these arguments now.
    function claimsDigest(
        address wallet,
        bytes32 subjectHash,
        uint16 country,
        uint32 claims,
        bool isInvestor,
        uint64 expiresAt
    ) external view returns (bytes32) {
        WalletClaims memory content = WalletClaims(wallet, subjectHash, country, claims, isInvestor, expiresAt, 0, 0);
        content.issuerGeneration = issuerGeneration;
        content.nonce = _words[wallet].nonce();
        return _digest(content);
    }

    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IERC173).interfaceId
            || interfaceId == type(IAgentRole).interfaceId || interfaceId == type(IIdentityRegistry).interfaceId;
    }

    function _enter(address wallet, bytes32 subjectHash) private {
        if (wallet == address(0)) revert ZeroAddress();
        if (subjectHash == 0) revert InvalidSubject();
        _subjects[wallet] = subjectHash;
        emit IdentityRegistered(wallet, identity(wallet));
    }

    /// @dev Refuses claims that the issuer of this moment has not signed; fills in the generation.
    function _requireSigned(WalletClaims memory content, bytes calldata signature) private view {
        if (content.expiresAt <= block.timestamp) revert ClaimsExpired(content.expiresAt);
        (address issuer, uint32 allowed, address told) = _issuersRegistry.activeIssuer();
        if (told != address(this)) revert IssuersRegistryNotBound();
        if (issuer == address(0)) revert NoTrustedIssuer();
        if (content.claims & ~allowed != 0) revert IssuerMayNotSign(content.claims);
        content.issuerGeneration = issuerGeneration;
        if (_signerOf(_digest(content), signature) != issuer) revert InvalidIssuerSignature();
    }

    function _store(WalletClaims memory content) private {
        uint32 nonce = content.nonce + 1;
        _words[content.wallet] = StatusWord.pack(
            content.claims, content.isInvestor, content.country, content.expiresAt, content.issuerGeneration, nonce
        );
        emit WalletStatusSet(
            content.wallet,
            content.subjectHash,
            content.claims,
            content.isInvestor,
            content.expiresAt,
            content.issuerGeneration,
            nonce
        );
    }

    function _setTopicsRegistry(address claimTopicsRegistry) private {
        _requireContract(claimTopicsRegistry);
        _topicsRegistry = claimTopicsRegistry;
        emit ClaimTopicsRegistrySet(claimTopicsRegistry);
    }

    function _setIssuersRegistry(address trustedIssuersRegistry) private {
        _requireContract(trustedIssuersRegistry);
        _issuersRegistry = IActiveIssuer(trustedIssuersRegistry);
        ++issuerGeneration;
        emit TrustedIssuersRegistrySet(trustedIssuersRegistry);
    }

    function _registered(address wallet) private view returns (uint256 word) {
        word = _words[wallet];
        if (!word.isRegistered()) revert WalletNotRegistered(wallet);
    }

    function _live(uint256 word, uint64 current) private view returns (uint256) {
        bool live = word.claims() != 0 && word.generation() == current && block.timestamp < word.expiresAt();
        return live ? word : 0;
    }

    function _digest(WalletClaims memory content) private view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(CLAIMS_TYPEHASH, content));
        bytes32 domainSeparator =
            keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domainSeparator, structHash));
    }

    /// @return The signer, or zero for a signature that is malformed or not in its canonical form.
    function _signerOf(bytes32 digest, bytes calldata signature) private pure returns (address) {
        if (signature.length != 65) return address(0);
        bytes32 r = bytes32(signature[0:32]);
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > HALF_CURVE_ORDER) return address(0);
        return ecrecover(digest, uint8(signature[64]), r, s);
    }
}
