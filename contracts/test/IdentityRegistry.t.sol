// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../src/Claims.sol";
import {FXIdentityRegistry} from "../src/FXIdentityRegistry.sol";
import {FXTrustedIssuersRegistry} from "../src/FXTrustedIssuersRegistry.sol";
import {StatusWord} from "../src/StatusWord.sol";
import {AgentRole} from "../src/access/AgentRole.sol";
import {Owned} from "../src/access/Owned.sol";
import {FXTest} from "./FXTest.sol";

contract IdentityRegistryTest is FXTest {
    address private constant CAROL = address(0xC001);

    function registration(address wallet, bytes32 subjectHash, uint32 claims, uint64 expiresAt, bytes memory signature)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(registry.registerWallet, (wallet, subjectHash, 826, claims, true, expiresAt, signature));
    }

    function registrationRefused(bytes memory data, bytes memory expected) private {
        refused(address(this), address(registry), data, expected);
    }

    function test_a_registered_wallet_is_verified_and_mapped_to_its_subject() public view {
        isTrue(registry.contains(ALICE));
        isTrue(registry.isVerified(ALICE));
        same(registry.subjectOf(ALICE), subject(ALICE));
        same(registry.identity(ALICE), address(uint160(uint256(subject(ALICE)))));
        same(registry.investorCountry(ALICE), 826);
        same(registry.nonceOf(ALICE), 1);
        uint256 word = registry.statusWord(ALICE);
        same(StatusWord.claims(word), LENDER);
        isTrue(StatusWord.isInvestor(word));
        same(StatusWord.expiresAt(word), EXPIRY);
        same(StatusWord.generation(word), registry.issuerGeneration());
    }

    function test_an_unknown_wallet_is_not_verified() public view {
        isFalse(registry.contains(CAROL));
        isFalse(registry.isVerified(CAROL));
        same(registry.identity(CAROL), address(0));
    }

    function test_a_claim_signed_by_another_key_is_refused() public {
        bytes memory forged = signed(0xBAD, CAROL, subject(CAROL), 826, LENDER, true, EXPIRY);
        registrationRefused(
            registration(CAROL, subject(CAROL), LENDER, EXPIRY, forged),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector)
        );
        isFalse(registry.isVerified(CAROL));
    }

    function test_a_signature_covers_every_field() public {
        bytes memory invalid = abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector);
        bytes memory signature = signed(ISSUER_KEY, CAROL, subject(CAROL), 826, LENDER, true, EXPIRY);
        bytes32 hash = subject(CAROL);
        registrationRefused(registration(address(0xC002), hash, LENDER, EXPIRY, signature), invalid);
        registrationRefused(registration(CAROL, subject(BOB), LENDER, EXPIRY, signature), invalid);
        registrationRefused(registration(CAROL, hash, BASE, EXPIRY, signature), invalid);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY + 1, signature), invalid);
        registrationRefused(
            abi.encodeCall(registry.registerWallet, (CAROL, hash, 826, LENDER, false, EXPIRY, signature)), invalid
        );
        registrationRefused(
            abi.encodeCall(registry.registerWallet, (CAROL, hash, 372, LENDER, true, EXPIRY, signature)), invalid
        );
        vm.chainId(1);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, signature), invalid);
        vm.chainId(31337);
        registry.registerWallet(CAROL, hash, 826, LENDER, true, EXPIRY, signature);
        isTrue(registry.isVerified(CAROL));
    }

    function test_a_signature_for_another_registry_is_refused() public {
        bytes memory signature = signed(ISSUER_KEY, CAROL, subject(CAROL), 826, LENDER, true, EXPIRY);
        FXTrustedIssuersRegistry otherIssuers = new FXTrustedIssuersRegistry(address(this));
        FXIdentityRegistry other =
            new FXIdentityRegistry(address(topics), address(otherIssuers), address(this), address(this));
        otherIssuers.bindIdentityRegistry(address(other));
        otherIssuers.addTrustedIssuer(vm.addr(ISSUER_KEY), topics.getClaimTopics());
        same(other.issuerGeneration(), registry.issuerGeneration());
        refused(
            address(this),
            address(other),
            registration(CAROL, subject(CAROL), LENDER, EXPIRY, signature),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector)
        );
    }

    function test_a_signature_is_used_once() public {
        bytes memory signature = signed(ISSUER_KEY, CAROL, subject(CAROL), 826, LENDER, true, EXPIRY);
        bytes memory data = registration(CAROL, subject(CAROL), LENDER, EXPIRY, signature);
        registry.registerWallet(CAROL, subject(CAROL), 826, LENDER, true, EXPIRY, signature);
        registrationRefused(data, abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector));
    }

    function test_revocation_voids_a_signature_not_yet_used() public {
        bytes memory unused = signed(ISSUER_KEY, ALICE, subject(ALICE), 826, LENDER, true, EXPIRY);
        revoke(ALICE);
        registrationRefused(
            registration(ALICE, subject(ALICE), LENDER, EXPIRY, unused),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector)
        );
    }

    function test_deletion_voids_a_signature_not_yet_used() public {
        bytes memory unused = signed(ISSUER_KEY, ALICE, subject(ALICE), 826, LENDER, true, EXPIRY);
        registry.deleteIdentity(ALICE);
        registrationRefused(
            registration(ALICE, subject(ALICE), LENDER, EXPIRY, unused),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector)
        );
    }

    function test_malformed_signatures_are_refused() public {
        bytes memory invalid = abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector);
        bytes32 hash = subject(CAROL);
        bytes32 digest = registry.claimsDigest(CAROL, hash, 826, LENDER, true, EXPIRY);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(ISSUER_KEY, digest);
        bytes32 highS = bytes32(CURVE_ORDER - uint256(s));
        bytes memory high = abi.encodePacked(r, highS, v == 27 ? uint8(28) : uint8(27));
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, high), invalid);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, abi.encodePacked(r, s)), invalid);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, abi.encodePacked(r, s, v - 27)), invalid);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, abi.encodePacked(r, s, v, v)), invalid);
        registrationRefused(registration(CAROL, hash, LENDER, EXPIRY, new bytes(65)), invalid);
    }

    function test_the_digest_is_eip712() public view {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("FXIdentityRegistry"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        bytes32 content = keccak256(
            abi.encode(
                keccak256(
                    "WalletClaims(address wallet,bytes32 subjectHash,uint16 country,uint32 claims,bool isInvestor,uint64 expiresAt,uint64 issuerGeneration,uint32 nonce)"
                ),
                ALICE,
                subject(ALICE),
                uint256(826),
                uint256(LENDER),
                uint256(1),
                uint256(EXPIRY),
                uint256(2),
                uint256(1)
            )
        );
        same(
            registry.claimsDigest(ALICE, subject(ALICE), 826, LENDER, true, EXPIRY),
            keccak256(abi.encodePacked(bytes2(0x1901), domain, content))
        );
    }

    function test_invalid_content_is_refused() public {
        bytes memory signature = signed(ISSUER_KEY, CAROL, subject(CAROL), 826, 32, true, EXPIRY);
        registrationRefused(
            registration(CAROL, subject(CAROL), 32, EXPIRY, signature),
            abi.encodeWithSelector(Claims.UnknownClaims.selector, 32)
        );
        registrationRefused(
            registration(address(0), subject(CAROL), 1, EXPIRY, ""), abi.encodeWithSelector(Owned.ZeroAddress.selector)
        );
        registrationRefused(
            registration(CAROL, 0, 1, EXPIRY, ""), abi.encodeWithSelector(FXIdentityRegistry.InvalidSubject.selector)
        );
        registrationRefused(
            registration(CAROL, subject(CAROL), 1, uint64(NOW), ""),
            abi.encodeWithSelector(FXIdentityRegistry.ClaimsExpired.selector, NOW)
        );
        registrationRefused(
            registration(ALICE, subject(BOB), 0, 0, ""),
            abi.encodeWithSelector(FXIdentityRegistry.WalletOfAnotherSubject.selector, ALICE)
        );
    }

    function test_an_issuer_signs_only_its_topics() public {
        issuers.updateIssuerClaimTopics(vm.addr(ISSUER_KEY), one(topics.getClaimTopics()[0]));
        bytes memory signature = signed(ISSUER_KEY, CAROL, subject(CAROL), 826, 3, true, EXPIRY);
        registrationRefused(
            registration(CAROL, subject(CAROL), 3, EXPIRY, signature),
            abi.encodeWithSelector(FXIdentityRegistry.IssuerMayNotSign.selector, 3)
        );
        register(CAROL, 1, true);
        isTrue(registry.isVerified(CAROL));
    }

    function test_revocation_bites_at_once_and_renewal_restores() public {
        revoke(ALICE);
        isTrue(registry.contains(ALICE));
        isFalse(registry.isVerified(ALICE));
        register(ALICE, LENDER, true);
        isTrue(registry.isVerified(ALICE));
        same(registry.nonceOf(ALICE), 3);
    }

    function test_claims_end_at_their_expiry() public {
        vm.warp(EXPIRY - 1);
        isTrue(registry.isVerified(ALICE));
        vm.warp(EXPIRY);
        isFalse(registry.isVerified(ALICE));
    }

    function test_removal_of_the_issuer_bites_at_once_and_for_ever() public {
        address issuer = vm.addr(ISSUER_KEY);
        issuers.removeTrustedIssuer(issuer);
        isFalse(registry.isVerified(ALICE));
        registrationRefused(
            registration(CAROL, subject(CAROL), 1, EXPIRY, ""),
            abi.encodeWithSelector(FXIdentityRegistry.NoTrustedIssuer.selector)
        );
        issuers.addTrustedIssuer(issuer, topics.getClaimTopics());
        isFalse(registry.isVerified(ALICE));
        register(ALICE, LENDER, true);
        isTrue(registry.isVerified(ALICE));
    }

    function test_another_issuers_registry_voids_the_claims_and_must_be_bound() public {
        FXTrustedIssuersRegistry other = new FXTrustedIssuersRegistry(address(this));
        registry.setTrustedIssuersRegistry(address(other));
        same(registry.issuersRegistry(), address(other));
        isFalse(registry.isVerified(ALICE));
        registrationRefused(
            registration(CAROL, subject(CAROL), 1, EXPIRY, ""),
            abi.encodeWithSelector(FXIdentityRegistry.IssuersRegistryNotBound.selector)
        );
        other.bindIdentityRegistry(address(registry));
        other.addTrustedIssuer(vm.addr(ISSUER_KEY), topics.getClaimTopics());
        register(ALICE, LENDER, true);
        isTrue(registry.isVerified(ALICE));
        issuers.removeTrustedIssuer(vm.addr(ISSUER_KEY));
        isTrue(registry.isVerified(ALICE));
        registry.setTrustedIssuersRegistry(address(issuers));
        isFalse(registry.isVerified(ALICE));
        isFalse(registry.isVerified(BOB));
    }

    function test_an_identity_registry_that_its_issuers_registry_does_not_tell_registers_nobody() public {
        FXIdentityRegistry other =
            new FXIdentityRegistry(address(topics), address(issuers), address(this), address(this));
        refused(
            address(this),
            address(other),
            registration(CAROL, subject(CAROL), LENDER, EXPIRY, ""),
            abi.encodeWithSelector(FXIdentityRegistry.IssuersRegistryNotBound.selector)
        );
    }

    function test_only_the_issuers_registry_tells_of_changes() public {
        registrationRefused(
            abi.encodeCall(registry.issuerChanged, ()),
            abi.encodeWithSelector(FXIdentityRegistry.NotIssuersRegistry.selector, address(this))
        );
    }

    function test_erc3643_registration_gives_no_claims_until_signed() public {
        registry.registerIdentity(CAROL, address(0x1D), 826);
        isTrue(registry.contains(CAROL));
        isFalse(registry.isVerified(CAROL));
        same(registry.identity(CAROL), address(0x1D));
        registrationRefused(
            abi.encodeCall(registry.registerIdentity, (CAROL, address(0x1D), 826)),
            abi.encodeWithSelector(FXIdentityRegistry.WalletAlreadyRegistered.selector, CAROL)
        );
        registerFor(CAROL, bytes32(uint256(0x1D)), LENDER, true);
        isTrue(registry.isVerified(CAROL));
    }

    function test_batch_registration_checks_lengths_and_registers_all() public {
        uint16[] memory countries = new uint16[](2);
        (countries[0], countries[1]) = (826, 372);
        registry.batchRegisterIdentity(two(CAROL, address(0xC002)), two(address(1), address(2)), countries);
        same(registry.identity(CAROL), address(1));
        same(registry.investorCountry(address(0xC002)), 372);
        bytes memory mismatch = abi.encodeWithSelector(FXIdentityRegistry.LengthMismatch.selector);
        registrationRefused(
            abi.encodeCall(registry.batchRegisterIdentity, (one(CAROL), two(address(1), address(2)), countries)),
            mismatch
        );
        registrationRefused(
            abi.encodeCall(registry.batchRegisterIdentity, (one(CAROL), one(address(1)), countries)), mismatch
        );
    }

    function test_a_new_country_or_identity_drops_the_claims() public {
        registry.updateCountry(ALICE, 372);
        same(registry.investorCountry(ALICE), 372);
        isFalse(registry.isVerified(ALICE));
        registry.updateIdentity(BOB, address(0x1D));
        same(registry.identity(BOB), address(0x1D));
        isFalse(registry.isVerified(BOB));
    }

    function test_a_deleted_wallet_is_gone_and_can_come_back_under_another_subject() public {
        registry.deleteIdentity(ALICE);
        isFalse(registry.contains(ALICE));
        isFalse(registry.isVerified(ALICE));
        same(registry.identity(ALICE), address(0));
        same(registry.nonceOf(ALICE), 2);
        registerFor(ALICE, subject(CAROL), LENDER, true);
        isTrue(registry.isVerified(ALICE));
    }

    function test_changes_of_an_unknown_wallet_are_refused() public {
        bytes memory unknown = abi.encodeWithSelector(FXIdentityRegistry.WalletNotRegistered.selector, CAROL);
        registrationRefused(abi.encodeCall(registry.deleteIdentity, (CAROL)), unknown);
        registrationRefused(abi.encodeCall(registry.updateCountry, (CAROL, 1)), unknown);
        registrationRefused(abi.encodeCall(registry.updateIdentity, (CAROL, address(1))), unknown);
        registrationRefused(
            abi.encodeCall(registry.updateIdentity, (ALICE, address(0))),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidSubject.selector)
        );
    }

    function test_only_the_agent_registers() public {
        bytes memory denied = abi.encodeWithSelector(AgentRole.NotAgent.selector, STRANGER);
        address target = address(registry);
        refused(STRANGER, target, registration(CAROL, subject(CAROL), 1, EXPIRY, ""), denied);
        refused(STRANGER, target, registration(ALICE, subject(ALICE), 0, 0, ""), denied);
        refused(STRANGER, target, abi.encodeCall(registry.registerIdentity, (CAROL, address(1), 826)), denied);
        refused(STRANGER, target, abi.encodeCall(registry.deleteIdentity, (ALICE)), denied);
        refused(STRANGER, target, abi.encodeCall(registry.updateCountry, (ALICE, 1)), denied);
        refused(STRANGER, target, abi.encodeCall(registry.updateIdentity, (ALICE, address(1))), denied);
        refused(
            STRANGER,
            target,
            abi.encodeCall(registry.batchRegisterIdentity, (one(CAROL), one(address(1)), new uint16[](1))),
            denied
        );
    }

    function test_the_owner_names_and_dismisses_agents() public {
        registry.addAgent(ALICE);
        isTrue(registry.isAgent(ALICE));
        registry.removeAgent(ALICE);
        isFalse(registry.isAgent(ALICE));
        bytes memory unknown = abi.encodeWithSelector(AgentRole.NotAgent.selector, ALICE);
        refused(address(this), address(registry), abi.encodeCall(registry.removeAgent, (ALICE)), unknown);
        bytes memory zero = abi.encodeWithSelector(Owned.ZeroAddress.selector);
        refused(address(this), address(registry), abi.encodeCall(registry.addAgent, (address(0))), zero);
    }

    function test_only_the_owner_rewires_and_only_to_contracts() public {
        bytes memory denied = abi.encodeWithSelector(Owned.NotOwner.selector, STRANGER);
        address target = address(registry);
        refused(STRANGER, target, abi.encodeCall(registry.addAgent, (STRANGER)), denied);
        refused(STRANGER, target, abi.encodeCall(registry.removeAgent, (address(this))), denied);
        refused(STRANGER, target, abi.encodeCall(registry.setClaimTopicsRegistry, (address(topics))), denied);
        refused(STRANGER, target, abi.encodeCall(registry.setTrustedIssuersRegistry, (address(issuers))), denied);
        refused(STRANGER, target, abi.encodeCall(registry.setIdentityRegistryStorage, (address(1))), denied);
        bytes memory empty = abi.encodeWithSelector(Owned.NoContractAt.selector, STRANGER);
        registrationRefused(abi.encodeCall(registry.setClaimTopicsRegistry, (STRANGER)), empty);
        registrationRefused(abi.encodeCall(registry.setTrustedIssuersRegistry, (STRANGER)), empty);
        registrationRefused(
            abi.encodeCall(registry.setIdentityRegistryStorage, (address(topics))),
            abi.encodeWithSelector(FXIdentityRegistry.StorageIsBuiltIn.selector)
        );
        registry.setClaimTopicsRegistry(address(topics));
        same(registry.topicsRegistry(), address(topics));
        same(registry.identityStorage(), address(registry));
    }

    function test_the_interface_ids_are_claimed() public view {
        isTrue(registry.supportsInterface(0x8ff89f73));
        isTrue(registry.supportsInterface(0x7f5828d0));
        isTrue(registry.supportsInterface(0x0cba0fa8));
        isTrue(registry.supportsInterface(0x01ffc9a7));
        isFalse(registry.supportsInterface(0x57defe0d));
        isFalse(registry.supportsInterface(0xffffffff));
    }

    function testFuzz_a_status_word_gives_back_what_was_packed(
        uint32 claims,
        bool isInvestor,
        uint16 country,
        uint64 expiresAt,
        uint64 generation,
        uint32 nonce
    ) public pure {
        uint256 word = StatusWord.pack(claims, isInvestor, country, expiresAt, generation, nonce);
        same(StatusWord.claims(word), claims);
        isTrue(StatusWord.isInvestor(word) == isInvestor);
        isTrue(StatusWord.isRegistered(word));
        same(StatusWord.country(word), country);
        same(StatusWord.expiresAt(word), expiresAt);
        same(StatusWord.generation(word), generation);
        same(StatusWord.nonce(word), nonce);
        isFalse(StatusWord.isRegistered(StatusWord.unregistered(nonce)));
        same(StatusWord.nonce(StatusWord.unregistered(nonce)), nonce);
    }

    function testFuzz_no_stranger_key_registers(uint256 key) public {
        vm.assume(key != 0 && key < CURVE_ORDER && key != ISSUER_KEY);
        bytes memory forged = signed(key, CAROL, subject(CAROL), 826, LENDER, true, EXPIRY);
        registrationRefused(
            registration(CAROL, subject(CAROL), LENDER, EXPIRY, forged),
            abi.encodeWithSelector(FXIdentityRegistry.InvalidIssuerSignature.selector)
        );
    }
}
