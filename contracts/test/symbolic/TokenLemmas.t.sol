// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXReceivableToken} from "../../src/FXReceivableToken.sol";
import {IFXCompliance} from "../../src/interfaces/IFinTokenX.sol";
import {Lemmas} from "./Lemmas.sol";

/// @notice Rules that may answer anything: what is shown with them holds with every rule.
contract AnyCompliance is IFXCompliance {
    bool private _transfer;
    bool private _batch;
    bool private _send;
    bool private _receive;

    function identityRegistry() external view returns (address) {
        return address(this);
    }

    function canTransfer(address, address, uint256, uint256) external view returns (bool, bytes32) {
        return (_transfer, "");
    }

    function allowsBatch(address, address[] calldata, uint256[] calldata, uint256[] calldata)
        external
        view
        returns (bool)
    {
        return _batch;
    }

    function canSend(address) external view returns (bool, bytes32) {
        return (_send, "");
    }

    function canReceive(address) external view returns (bool, bytes32) {
        return (_receive, "");
    }
}

/// @dev The storage of the rules must be any before the token's constructor reads it.
abstract contract AnyToken is Lemmas {
    FXReceivableToken internal token;
    AnyCompliance internal rules;

    function setUp() public {
        rules = new AnyCompliance();
        svm.enableSymbolicStorage(address(rules));
        token = new FXReceivableToken("", "", address(rules), address(this), address(this), address(0));
        svm.enableSymbolicStorage(address(token));
    }

    /// @dev Of contracts that receive, Reentrancy.t.sol tells.
    function assumeWallet(address account) internal view {
        vm.assume(account != address(this) && account != address(token) && account != address(rules));
    }

    function face(uint256 id) internal view returns (uint256 value) {
        (value,,,,,) = token.receivableOf(id);
    }

    /// @dev What holds of every id before a lemma, and is shown to hold after it.
    function assumeSound(uint256 id, address first, address second) internal view {
        uint256 supply = token.totalSupply(id);
        uint256 held = token.balanceOf(first, id);
        if (first != second) held += token.balanceOf(second, id);
        vm.assume(held <= supply && supply <= face(id));
    }
}

contract TokenLemmas is AnyToken {
    function check_a_transfer_conserves(
        address caller,
        address from,
        address to,
        address other,
        uint256 id,
        uint256 amount
    ) external {
        assumeWallet(to);
        vm.assume(other != from && other != to);
        assumeSound(id, from, to);
        uint256 source = token.balanceOf(from, id);
        uint256 target = token.balanceOf(to, id);
        uint256 bystander = token.balanceOf(other, id);
        uint256 supply = token.totalSupply(id);
        if (!call(caller, address(token), abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")))) return;
        assert(amount <= source);
        assert(token.balanceOf(from, id) == (from == to ? source : source - amount));
        assert(token.balanceOf(to, id) == (from == to ? source : target + amount));
        assert(token.balanceOf(other, id) == bystander);
        assert(token.totalSupply(id) == supply);
    }

    function check_a_transfer_leaves_other_ids(
        address caller,
        address from,
        address to,
        address account,
        uint256 id,
        uint256 otherId,
        uint256 amount
    ) external {
        assumeWallet(to);
        vm.assume(otherId != id);
        uint256 before = token.balanceOf(account, otherId);
        call(caller, address(token), abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")));
        assert(token.balanceOf(account, otherId) == before);
    }

    function check_no_transfer_passes_the_rules_or_the_holder(
        address caller,
        address from,
        address to,
        uint256 id,
        uint256 amount,
        bool paused
    ) external {
        assumeWallet(to);
        if (paused) token.pause();
        bool allowed = token.canTransfer(from, to, id, amount);
        bool mayMove = caller == from || token.isApprovedForAll(from, caller);
        bool moved = call(caller, address(token), abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")));
        assert(!moved || (allowed && mayMove));
        (bool rulesAllow,) = rules.canTransfer(from, to, id, amount);
        assert(!moved || rulesAllow);
        assert(!moved || !paused);
    }

    /// @dev The two receivers may be one.
    function check_no_batch_passes_the_rules_or_takes_from_others(
        address caller,
        address first,
        address second,
        address other,
        uint256 id,
        uint256 amount
    ) external {
        assumeWallet(first);
        assumeWallet(second);
        assumeSound(id, caller, first);
        vm.assume(other != caller);
        uint256 bystander = token.balanceOf(other, id);
        (bool rulesAllow,) = rules.canTransfer(caller, first, id, amount);
        bool rulesAllowAll = rules.allowsBatch(caller, new address[](0), new uint256[](0), new uint256[](0));
        address[] memory tos = new address[](2);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory amounts = new uint256[](2);
        (tos[0], tos[1], ids[0], ids[1], amounts[0], amounts[1]) = (first, second, id, id, amount, amount);
        if (!call(caller, address(token), abi.encodeCall(token.batchTransfer, (tos, ids, amounts)))) return;
        assert(rulesAllow || rulesAllowAll);
        assert(!token.isFrozen(caller) && !token.isFrozen(first) && !token.isFrozen(second));
        assert(token.balanceOf(other, id) >= bystander);
    }

    function check_what_is_frozen_does_not_leave_by_a_transfer(
        address caller,
        address from,
        address to,
        uint256 id,
        uint256 amount
    ) external {
        assumeWallet(to);
        uint256 frozen = token.getFrozenTokens(from, id);
        uint256 balance = token.balanceOf(from, id);
        vm.assume(amount != 0);
        if (!call(caller, address(token), abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")))) return;
        assert(token.getFrozenTokens(from, id) == frozen);
        assert(balance >= frozen);
        assert(token.balanceOf(from, id) >= frozen);
        assert(!token.isFrozen(from) && !token.isFrozen(to));
    }

    function check_minting_never_exceeds_the_face(address caller, address to, uint256 id, uint256 amount, bool paused)
        external
    {
        assumeWallet(to);
        assumeSound(id, to, to);
        if (paused) token.pause();
        uint256 supply = token.totalSupply(id);
        uint256 balance = token.balanceOf(to, id);
        if (!call(caller, address(token), abi.encodeCall(token.mint, (to, id, amount)))) return;
        assert(token.totalSupply(id) <= face(id));
        assert(token.totalSupply(id) == supply + amount);
        assert(token.balanceOf(to, id) == balance + amount);
        assert(token.canReceive(to) && !paused);
    }

    function check_a_burn_takes_all_that_the_supply_counts(address caller, address first, address second, uint256 id)
        external
    {
        vm.assume(first != second);
        uint256 held = token.balanceOf(first, id) + token.balanceOf(second, id);
        uint256 supply = token.totalSupply(id);
        address[] memory holders = new address[](2);
        (holders[0], holders[1]) = (first, second);
        if (!call(caller, address(token), abi.encodeCall(token.burnReceivable, (id, holders, "")))) return;
        assert(held == supply);
        assert(token.totalSupply(id) == 0);
        assert(token.balanceOf(first, id) == 0 && token.balanceOf(second, id) == 0);
    }

    function check_an_id_is_never_used_again(
        address caller,
        address to,
        uint256 id,
        uint256 newFace,
        uint64 dueAt,
        bytes32 documentHash
    ) external {
        (,,,, bool exists,) = token.receivableOf(id);
        vm.assume(exists);
        assert(
            !call(caller, address(token), abi.encodeCall(token.createReceivable, (id, newFace, dueAt, documentHash)))
        );
        assert(
            !call(caller, address(token), abi.encodeCall(token.issueReceivable, (to, id, newFace, dueAt, documentHash)))
        );
    }

    /// @dev Any function, called by anybody with any arguments.
    function check_nothing_forgets_an_id_or_revives_it(address caller, uint256 id) external {
        (uint256 faceBefore,,, bytes32 document, bool exists, bool burned) = token.receivableOf(id);
        vm.assume(exists);
        call(caller, address(token), svm.createCalldata("FXReceivableToken"));
        (uint256 faceAfter,,, bytes32 documentAfter, bool existsAfter, bool burnedAfter) = token.receivableOf(id);
        assert(existsAfter && faceAfter == faceBefore && documentAfter == document);
        assert(!burned || burnedAfter);
    }

    function check_a_forced_transfer_never_reaches_who_may_not_receive(
        address caller,
        address from,
        address to,
        uint256 id,
        uint256 amount
    ) external {
        assumeWallet(to);
        assumeSound(id, from, to);
        uint256 balance = token.balanceOf(from, id);
        uint256 sum = balance + token.balanceOf(to, id);
        uint256 frozen = token.getFrozenTokens(from, id);
        bool mayReceive = token.canReceive(to);
        bool isAgent = token.isAgent(caller);
        if (!call(caller, address(token), abi.encodeCall(token.forcedTransfer, (from, to, id, amount)))) return;
        assert(mayReceive && isAgent && from != to);
        assert(token.balanceOf(from, id) + token.balanceOf(to, id) == sum);
        assert(token.balanceOf(from, id) == balance - amount);
        uint256 still = token.getFrozenTokens(from, id);
        assert(still == frozen || (frozen - still <= amount && (still >= balance - amount)));
    }
}

/// @notice Each of these must be refuted: the counterexample shows that what the lemmas speak of can happen at all.
contract TokenWitnesses is AnyToken {
    function check_witness_a_transfer(address caller, address from, address to, uint256 id, uint256 amount) external {
        assumeWallet(to);
        assumeSound(id, from, to);
        vm.assume(amount != 0 && caller != from && from != to && token.getFrozenTokens(from, id) != 0);
        assert(!call(caller, address(token), abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, ""))));
    }

    function check_witness_a_batch_by_each_way(address caller, address to, uint256 id, uint256 amount) external {
        assumeWallet(to);
        vm.assume(amount != 0);
        (bool allowed,) = rules.canTransfer(caller, to, id, amount);
        bool atOnce = rules.allowsBatch(caller, new address[](0), new uint256[](0), new uint256[](0));
        vm.assume(allowed != atOnce);
        address[] memory tos = new address[](2);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory amounts = new uint256[](2);
        (tos[0], tos[1], ids[0], ids[1], amounts[0], amounts[1]) = (to, to, id, id, amount, amount);
        assert(!call(caller, address(token), abi.encodeCall(token.batchTransfer, (tos, ids, amounts))));
    }

    function check_witness_a_mint(address caller, address to, uint256 id, uint256 amount) external {
        assumeWallet(to);
        assumeSound(id, to, to);
        vm.assume(token.totalSupply(id) != 0);
        assert(!call(caller, address(token), abi.encodeCall(token.mint, (to, id, amount))));
    }

    function check_witness_a_burn(address caller, address first, address second, uint256 id) external {
        vm.assume(first != second && token.balanceOf(first, id) != 0 && token.balanceOf(second, id) != 0);
        address[] memory holders = new address[](2);
        (holders[0], holders[1]) = (first, second);
        assert(!call(caller, address(token), abi.encodeCall(token.burnReceivable, (id, holders, ""))));
    }

    function check_witness_a_forced_transfer(address caller, address from, address to, uint256 id, uint256 amount)
        external
    {
        assumeWallet(to);
        assumeSound(id, from, to);
        vm.assume(from != to && amount != 0 && token.getFrozenTokens(from, id) == token.balanceOf(from, id));
        assert(!call(caller, address(token), abi.encodeCall(token.forcedTransfer, (from, to, id, amount))));
    }

    function check_witness_a_new_id(address caller, uint256 id, uint256 newFace, uint64 dueAt, bytes32 document)
        external
    {
        assert(!call(caller, address(token), abi.encodeCall(token.createReceivable, (id, newFace, dueAt, document))));
    }
}
