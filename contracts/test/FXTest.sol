// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../src/Claims.sol";
import {FXClaimsTopicRegistry} from "../src/FXClaimsTopicRegistry.sol";
import {FXComplianceModularised} from "../src/FXComplianceModularised.sol";
import {FXIdentityRegistry} from "../src/FXIdentityRegistry.sol";
import {FXReceivableToken} from "../src/FXReceivableToken.sol";
import {FXTrustedIssuersRegistry} from "../src/FXTrustedIssuersRegistry.sol";
import {LockupRule} from "../src/rules/LockupRule.sol";
import {SanctionsRule} from "../src/rules/SanctionsRule.sol";

/// @notice The cheatcodes of forge that these tests use.
interface Vm {
    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function roll(uint256 blockNumber) external;
    function chainId(uint256 id) external;
    function assume(bool condition) external pure;
    function expectEmit(address emitter) external;
    function lastCallGas() external view returns (Gas memory);
    function envOr(string calldata name, bool otherwise) external view returns (bool);
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address);
}

/// @notice The whole suite deployed as in production, with this contract as owner, agent and minter. With FX_ARTIFACTS
/// set it is the committed artifacts that are tested, byte for byte what is deployed; else what src/ compiles to now.
abstract contract FXTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant NOW = 1_800_000_000;
    uint64 internal constant EXPIRY = uint64(NOW + 365 days);
    uint64 internal constant MAX_AGE = 1 days;
    uint256 internal constant ISSUER_KEY = 0xA11CE;
    uint256 internal constant CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    uint32 internal constant BASE = Claims.KYC_VERIFIED | Claims.AML_CLEARED | Claims.JURISDICTION_UK;
    uint32 internal constant LENDER = BASE | Claims.MIFID_PROFESSIONAL;

    uint256 internal constant ID = uint256(keccak256("FXR-INV-23A4F"));
    uint256 internal constant FACE = 1_234_567;
    uint64 internal constant DUE = uint64(NOW + 60 days);
    bytes32 internal constant DOCUMENT = keccak256("invoice.pdf");

    address internal constant MINTING = address(0xF001);
    address internal constant ALICE = address(0xA001);
    address internal constant BOB = address(0xB001);
    address internal constant STRANGER = address(0x5001);

    FXClaimsTopicRegistry internal topics;
    FXTrustedIssuersRegistry internal issuers;
    FXIdentityRegistry internal registry;
    LockupRule internal lockup;
    SanctionsRule internal sanctions;
    FXComplianceModularised internal compliance;
    FXReceivableToken internal token;

    function setUp() public virtual {
        vm.warp(NOW);
        address me = address(this);
        topics = FXClaimsTopicRegistry(deployed("FXClaimsTopicRegistry", ""));
        issuers = FXTrustedIssuersRegistry(deployed("FXTrustedIssuersRegistry", abi.encode(me)));
        registry = FXIdentityRegistry(deployed("FXIdentityRegistry", abi.encode(topics, issuers, me, me)));
        lockup = LockupRule(deployed("LockupRule", abi.encode(me, me)));
        sanctions = SanctionsRule(deployed("SanctionsRule", abi.encode(MAX_AGE, me, me)));
        compliance =
            FXComplianceModularised(deployed("FXComplianceModularised", abi.encode(registry, lockup, sanctions)));
        bytes memory names = abi.encode("FinToken X Receivables", "FXR", compliance, me, me, me);
        token = FXReceivableToken(deployed("FXReceivableToken", names));
        issuers.bindIdentityRegistry(address(registry));
        issuers.addTrustedIssuer(vm.addr(ISSUER_KEY), topics.getClaimTopics());
        sanctions.refresh(uint64(block.timestamp));
        register(MINTING, BASE, false);
        register(ALICE, LENDER, true);
        register(BOB, LENDER, true);
    }

    function testsArtifacts() internal view virtual returns (bool) {
        return vm.envOr("FX_ARTIFACTS", false);
    }

    function deployed(string memory name, bytes memory arguments) internal returns (address) {
        string memory here = testsArtifacts() ? "artifacts/" : "";
        string memory kind = testsArtifacts() ? ".json" : ".sol";
        return vm.deployCode(string.concat(here, name, kind), arguments);
    }

    function subject(address wallet) internal pure returns (bytes32) {
        return keccak256(abi.encode("subject", wallet));
    }

    function register(address wallet, uint32 claims, bool isInvestor) internal {
        registerFor(wallet, subject(wallet), claims, isInvestor);
    }

    function registerFor(address wallet, bytes32 subjectHash, uint32 claims, bool isInvestor) internal {
        bytes memory signature = signed(ISSUER_KEY, wallet, subjectHash, 826, claims, isInvestor, EXPIRY);
        registry.registerWallet(wallet, subjectHash, 826, claims, isInvestor, EXPIRY, signature);
    }

    function revoke(address wallet) internal {
        registry.registerWallet(wallet, registry.subjectOf(wallet), 826, 0, false, 0, "");
    }

    function signed(
        uint256 key,
        address wallet,
        bytes32 subjectHash,
        uint16 country,
        uint32 claims,
        bool isInvestor,
        uint64 expiresAt
    ) internal view returns (bytes memory) {
        bytes32 digest = registry.claimsDigest(wallet, subjectHash, country, claims, isInvestor, expiresAt);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function issue() internal {
        token.issueReceivable(MINTING, ID, FACE, DUE, DOCUMENT);
    }

    function send(address from, address to, uint256 amount) internal {
        vm.prank(from);
        token.safeTransferFrom(from, to, ID, amount, "");
    }

    function give(address to, uint256 amount) internal {
        send(MINTING, to, amount);
    }

    /// @dev Calls as `caller` and demands exactly this revert data.
    function refused(address caller, address target, bytes memory data, bytes memory expected) internal {
        vm.prank(caller);
        (bool success, bytes memory answer) = target.call(data);
        require(!success, "the call was not refused");
        require(keccak256(answer) == keccak256(expected), string.concat("other refusal: ", hexOf(answer)));
    }

    function transferRefused(address from, address to, uint256 amount, bytes32 reason) internal {
        (bool allowed, bytes32 told) = token.canTransferReason(from, to, ID, amount);
        isFalse(allowed);
        same(told, reason);
        isFalse(token.canTransfer(from, to, ID, amount));
        refused(
            from,
            address(token),
            abi.encodeCall(token.safeTransferFrom, (from, to, ID, amount, "")),
            abi.encodeWithSelector(FXReceivableToken.TransferRefused.selector, reason)
        );
    }

    function reasonIs(address from, address to, uint256 id, bytes32 reason) internal view {
        (bool allowed, bytes32 told) = compliance.canTransfer(from, to, id, 1);
        same(told, reason);
        require(allowed == (reason == "ok"), "verdict and reason differ");
    }

    function same(uint256 actual, uint256 expected) internal pure {
        require(
            actual == expected,
            string.concat("got ", hexOf(abi.encode(actual)), " expected ", hexOf(abi.encode(expected)))
        );
    }

    function same(bytes32 actual, bytes32 expected) internal pure {
        same(uint256(actual), uint256(expected));
    }

    function same(address actual, address expected) internal pure {
        same(uint256(uint160(actual)), uint256(uint160(expected)));
    }

    function isTrue(bool value) internal pure {
        require(value, "expected true");
    }

    function isFalse(bool value) internal pure {
        require(!value, "expected false");
    }

    function one(uint256 value) internal pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = value;
    }

    function two(uint256 first, uint256 second) internal pure returns (uint256[] memory list) {
        list = new uint256[](2);
        list[0] = first;
        list[1] = second;
    }

    function one(address value) internal pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = value;
    }

    function two(address first, address second) internal pure returns (address[] memory list) {
        list = new address[](2);
        list[0] = first;
        list[1] = second;
    }

    function hexOf(bytes memory data) internal pure returns (string memory) {
        bytes memory digits = "0123456789abcdef";
        bytes memory text = new bytes(2 * data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            text[2 * i] = digits[uint8(data[i]) >> 4];
            text[2 * i + 1] = digits[uint8(data[i]) & 15];
        }
        return string(text);
    }
}
