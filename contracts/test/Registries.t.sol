// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Claims} from "../src/Claims.sol";
import {FXClaimsTopicRegistry} from "../src/FXClaimsTopicRegistry.sol";
import {FXTrustedIssuersRegistry} from "../src/FXTrustedIssuersRegistry.sol";
import {Owned} from "../src/access/Owned.sol";
import {FXTest} from "./FXTest.sol";

contract ClaimsTopicRegistryTest is FXTest {
    function test_there_are_exactly_the_five_topics() public view {
        uint256[] memory listed = topics.getClaimTopics();
        same(listed.length, 5);
        same(bytes32(listed[0]), "KYC_VERIFIED");
        same(bytes32(listed[1]), "AML_CLEARED");
        same(bytes32(listed[2]), "JURISDICTION_UK");
        same(bytes32(listed[3]), "MIFID_PROFESSIONAL");
        same(bytes32(listed[4]), "MIFID_ECP");
    }

    function test_nobody_changes_the_topics() public {
        bytes memory fixed_ = abi.encodeWithSelector(FXClaimsTopicRegistry.TopicsAreFixed.selector);
        refused(address(this), address(topics), abi.encodeCall(topics.addClaimTopic, (6)), fixed_);
        uint256 listed = topics.getClaimTopics()[0];
        refused(address(this), address(topics), abi.encodeCall(topics.removeClaimTopic, (listed)), fixed_);
    }

    function test_the_interface_ids_are_claimed() public view {
        isTrue(topics.supportsInterface(0x10928b13));
        isTrue(topics.supportsInterface(0x01ffc9a7));
        isFalse(topics.supportsInterface(0xffffffff));
    }
}

contract TrustedIssuersRegistryTest is FXTest {
    address private issuer;

    function setUp() public override {
        super.setUp();
        issuer = vm.addr(ISSUER_KEY);
    }

    function test_there_is_one_issuer_for_all_topics() public view {
        same(issuers.getTrustedIssuers().length, 1);
        same(issuers.getTrustedIssuers()[0], issuer);
        isTrue(issuers.isTrustedIssuer(issuer));
        isFalse(issuers.isTrustedIssuer(STRANGER));
        isFalse(issuers.isTrustedIssuer(address(0)));
        same(issuers.getTrustedIssuerClaimTopics(issuer).length, 5);
        uint256 kyc = topics.getClaimTopics()[0];
        isTrue(issuers.hasClaimTopic(issuer, kyc));
        isFalse(issuers.hasClaimTopic(STRANGER, kyc));
        isFalse(issuers.hasClaimTopic(issuer, 6));
        same(issuers.getTrustedIssuersForClaimTopic(kyc)[0], issuer);
        same(issuers.getTrustedIssuersForClaimTopic(6).length, 0);
    }

    function test_a_second_issuer_is_refused() public {
        refused(
            address(this),
            address(issuers),
            abi.encodeCall(issuers.addTrustedIssuer, (STRANGER, one(topics.getClaimTopics()[0]))),
            abi.encodeWithSelector(FXTrustedIssuersRegistry.IssuerAlreadySet.selector, issuer)
        );
    }

    function test_zero_issuer_no_topic_and_unknown_topic_are_refused() public {
        issuers.removeTrustedIssuer(issuer);
        uint256[] memory kyc = one(topics.getClaimTopics()[0]);
        refused(
            address(this),
            address(issuers),
            abi.encodeCall(issuers.addTrustedIssuer, (address(0), kyc)),
            abi.encodeWithSelector(Owned.ZeroAddress.selector)
        );
        refused(
            address(this),
            address(issuers),
            abi.encodeCall(issuers.addTrustedIssuer, (issuer, new uint256[](0))),
            abi.encodeWithSelector(FXTrustedIssuersRegistry.NoTopics.selector)
        );
        refused(
            address(this),
            address(issuers),
            abi.encodeCall(issuers.addTrustedIssuer, (issuer, one(uint256(6)))),
            abi.encodeWithSelector(Claims.UnknownTopic.selector, 6)
        );
    }

    function test_every_change_moves_the_generation_on() public {
        same(registry.issuerGeneration(), 2);
        issuers.updateIssuerClaimTopics(issuer, one(topics.getClaimTopics()[1]));
        same(registry.issuerGeneration(), 3);
        same(issuers.getTrustedIssuerClaimTopics(issuer).length, 1);
        issuers.removeTrustedIssuer(issuer);
        same(registry.issuerGeneration(), 4);
        same(issuers.getTrustedIssuers().length, 0);
        issuers.addTrustedIssuer(issuer, topics.getClaimTopics());
        same(registry.issuerGeneration(), 5);
    }

    function test_there_is_no_issuer_before_the_identity_registry_is_bound_for_ever() public {
        FXTrustedIssuersRegistry other = new FXTrustedIssuersRegistry(address(this));
        bytes memory add = abi.encodeCall(other.addTrustedIssuer, (issuer, topics.getClaimTopics()));
        refused(address(this), address(other), add, abi.encodeWithSelector(FXTrustedIssuersRegistry.NotBound.selector));
        bytes memory bind = abi.encodeCall(other.bindIdentityRegistry, (address(registry)));
        refused(
            address(this),
            address(other),
            bind,
            abi.encodeWithSelector(FXTrustedIssuersRegistry.ForeignRegistry.selector, address(registry))
        );
        refused(STRANGER, address(other), bind, abi.encodeWithSelector(Owned.NotOwner.selector, STRANGER));
        refused(
            address(this),
            address(issuers),
            abi.encodeCall(issuers.bindIdentityRegistry, (address(registry))),
            abi.encodeWithSelector(FXTrustedIssuersRegistry.AlreadyBound.selector, address(registry))
        );
        same(issuers.identityRegistry(), address(registry));
    }

    function test_an_unknown_issuer_is_neither_removed_nor_updated_nor_described() public {
        bytes memory unknown = abi.encodeWithSelector(FXTrustedIssuersRegistry.NotTrustedIssuer.selector, STRANGER);
        uint256[] memory kyc = one(topics.getClaimTopics()[0]);
        refused(address(this), address(issuers), abi.encodeCall(issuers.removeTrustedIssuer, (STRANGER)), unknown);
        refused(
            address(this), address(issuers), abi.encodeCall(issuers.updateIssuerClaimTopics, (STRANGER, kyc)), unknown
        );
        refused(
            address(this), address(issuers), abi.encodeCall(issuers.getTrustedIssuerClaimTopics, (STRANGER)), unknown
        );
    }

    function test_only_the_owner_changes_the_issuer() public {
        bytes memory denied = abi.encodeWithSelector(Owned.NotOwner.selector, STRANGER);
        uint256[] memory kyc = one(topics.getClaimTopics()[0]);
        refused(STRANGER, address(issuers), abi.encodeCall(issuers.addTrustedIssuer, (STRANGER, kyc)), denied);
        refused(STRANGER, address(issuers), abi.encodeCall(issuers.removeTrustedIssuer, (issuer)), denied);
        refused(STRANGER, address(issuers), abi.encodeCall(issuers.updateIssuerClaimTopics, (issuer, kyc)), denied);
    }

    function test_the_interface_ids_are_claimed() public view {
        isTrue(issuers.supportsInterface(0xb0f773b8));
        isTrue(issuers.supportsInterface(0x7f5828d0));
        isTrue(issuers.supportsInterface(0x01ffc9a7));
        isFalse(issuers.supportsInterface(0xffffffff));
    }
}

contract OwnershipTest is FXTest {
    function test_ownership_passes_only_when_accepted() public {
        token.transferOwnership(ALICE);
        same(token.owner(), address(this));
        same(token.pendingOwner(), ALICE);
        refused(
            BOB,
            address(token),
            abi.encodeCall(token.acceptOwnership, ()),
            abi.encodeWithSelector(Owned.NotPendingOwner.selector, BOB)
        );
        vm.prank(ALICE);
        token.acceptOwnership();
        same(token.owner(), ALICE);
        same(token.pendingOwner(), address(0));
        refused(
            address(this),
            address(token),
            abi.encodeCall(token.addAgent, (BOB)),
            abi.encodeWithSelector(Owned.NotOwner.selector, address(this))
        );
    }

    function test_an_offer_can_be_withdrawn() public {
        token.transferOwnership(ALICE);
        token.transferOwnership(address(0));
        refused(
            ALICE,
            address(token),
            abi.encodeCall(token.acceptOwnership, ()),
            abi.encodeWithSelector(Owned.NotPendingOwner.selector, ALICE)
        );
    }

    function test_a_contract_without_owner_is_not_deployed() public {
        try new FXTrustedIssuersRegistry(address(0)) {
            isTrue(false);
        } catch (bytes memory reason) {
            same(bytes4(reason), Owned.ZeroAddress.selector);
        }
    }
}
