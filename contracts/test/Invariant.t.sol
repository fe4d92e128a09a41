// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXTest} from "./FXTest.sol";

/// @notice Random sequences of mints, transfers of all three kinds, freezes, forced transfers, recoveries, burns, pauses
/// and of what the rules know of the wallets. Each handler also checks that its call succeeds exactly when it should,
/// and never reverts by itself; that only what may move moved is checked over all holdings after every call.
contract InvariantTest is FXTest {
    uint256 private constant IDS = 3;
    address[5] private actors = [MINTING, ALICE, BOB, address(0xC001), address(0xD001)];
    /// @dev The one wallet that a lost wallet may be recovered to; registered for the same subject as ALICE.
    address private constant HEIR = address(0xA002);
    address[6] private wallets = [MINTING, ALICE, BOB, address(0xC001), address(0xD001), HEIR];
    uint256[IDS][6] private before;
    uint256[IDS][6] private frozenBefore;

    function setUp() public override {
        super.setUp();
        for (uint256 i = 3; i < 5; ++i) {
            register(actors[i], LENDER, true);
        }
        registerFor(HEIR, subject(ALICE), LENDER, true);
        for (uint256 id = 0; id < IDS; ++id) {
            token.issueReceivable(MINTING, id, FACE, DUE, DOCUMENT);
            // All hold some from the start, or most calls would move nothing.
            for (uint256 i = 1; i < 5; ++i) {
                vm.prank(MINTING);
                token.safeTransferFrom(MINTING, actors[i], id, FACE / 6, "");
            }
        }
    }

    function targetContracts() public view returns (address[] memory) {
        return one(address(this));
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](13);
        selectors[0] = this.handleTransfer.selector;
        selectors[1] = this.handleMint.selector;
        selectors[2] = this.handleFreeze.selector;
        selectors[3] = this.handleForcedTransfer.selector;
        selectors[4] = this.handleAddressFreeze.selector;
        selectors[5] = this.handlePause.selector;
        selectors[6] = this.handleBurn.selector;
        selectors[7] = this.handleSafeBatch.selector;
        selectors[8] = this.handleBatch.selector;
        selectors[9] = this.handleOperator.selector;
        selectors[10] = this.handleRules.selector;
        selectors[11] = this.handleRecovery.selector;
        selectors[12] = this.handleStranger.selector;
        targets[0] = FuzzSelector(address(this), selectors);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function handleTransfer(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        uint256 balance = token.balanceOf(from, id);
        uint256 amount = amountSeed % (balance + 2);
        bool expected = token.canTransfer(from, to, id, amount) && amount <= balance;
        remember();
        attempt(from, abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")), expected);
        onlyMoved(expected, from, to, id, amount);
        frozenStayed();
    }

    /// @dev The same id twice, by half: the second must see what the first left.
    function handleSafeBatch(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        uint256 balance = token.balanceOf(from, id);
        uint256 half = amountSeed % (balance / 2 + 2);
        // To itself nothing leaves, so that the second may be as large as the first.
        uint256 whole = from == to ? half : 2 * half;
        bool expected = token.canTransfer(from, to, id, whole) && whole <= balance;
        remember();
        attempt(
            from, abi.encodeCall(token.safeBatchTransferFrom, (from, to, two(id, id), two(half, half), "")), expected
        );
        onlyMoved(expected, from, to, id, from == to ? half : whole);
        frozenStayed();
    }

    function handleBatch(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        uint256 balance = token.balanceOf(from, id);
        uint256 amount = amountSeed % (balance + 2);
        bool expected = token.canTransfer(from, to, id, amount) && amount <= balance;
        remember();
        attempt(from, abi.encodeCall(token.batchTransfer, (one(to), one(id), one(amount))), expected);
        onlyMoved(expected, from, to, id, amount);
        frozenStayed();
    }

    function handleOperator(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed, bool approve) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        vm.prank(from);
        token.setApprovalForAll(STRANGER, approve);
        uint256 balance = token.balanceOf(from, id);
        uint256 amount = amountSeed % (balance + 1);
        bool expected = approve && token.canTransfer(from, to, id, amount);
        remember();
        attempt(STRANGER, abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")), expected);
        onlyMoved(expected, from, to, id, amount);
        frozenStayed();
    }

    /// @dev What the rules know changes between the transfers: a claim revoked or renewed, a flag, a lock.
    function handleRules(uint8 seed, uint8 idSeed, uint8 what) external {
        address account = actors[seed % 5];
        remember();
        if (what % 10 == 0) revoke(account);
        else if (what % 5 == 1) sanctions.setFlagged(account, what % 3 == 0);
        else if (what % 5 == 2) lockup.setLock(idSeed % IDS, what % 3 == 0 ? type(uint64).max : 0);
        else register(account, LENDER, true);
        nothingMoved();
    }

    /// @dev ALICE's wallet is lost; once recovered it is retired and the call only finds what came in by force.
    function handleRecovery(uint8 rarely) external {
        if (rarely % 8 != 0) return;
        uint256[] memory ids = new uint256[](IDS);
        for (uint256 id = 0; id < IDS; ++id) {
            ids[id] = id;
        }
        bool expected = token.canReceive(HEIR);
        remember();
        attempt(address(this), abi.encodeCall(token.recoveryAddress, (ALICE, HEIR, subject(ALICE), ids)), expected);
        if (!expected) return nothingMoved();
        for (uint256 id = 0; id < IDS; ++id) {
            same(token.balanceOf(ALICE, id), 0);
            same(token.balanceOf(HEIR, id), before[1][id] + before[5][id]);
        }
        isFalse(token.canSend(ALICE) || token.canReceive(ALICE));
    }

    /// @dev Who is neither holder nor operator nor has a role moves nothing by any door.
    function handleStranger(uint8 fromSeed, uint8 idSeed, uint8 door) external {
        (address from,, uint256 id) = pick(fromSeed, 0, idSeed);
        vm.prank(from);
        token.setApprovalForAll(STRANGER, false);
        bytes[6] memory doors = [
            abi.encodeCall(token.safeTransferFrom, (from, BOB, id, 1, "")),
            abi.encodeCall(token.safeBatchTransferFrom, (from, BOB, one(id), one(uint256(1)), "")),
            abi.encodeCall(token.forcedTransfer, (from, BOB, id, 1)),
            abi.encodeCall(token.recoveryAddress, (ALICE, HEIR, subject(ALICE), one(id))),
            abi.encodeCall(token.mint, (BOB, id, 1)),
            abi.encodeCall(token.burnReceivable, (id, actorsList(), "settled"))
        ];
        remember();
        attempt(STRANGER, doors[door % 6], false);
        nothingMoved();
    }

    function handleMint(uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address to,, uint256 id) = pick(toSeed, 0, idSeed);
        (uint256 face, uint256 supply,,,, bool burned) = token.receivableOf(id);
        uint256 amount = amountSeed % (FACE + 1);
        bool open = !burned && !token.paused() && token.canReceive(to);
        bool expected = open && amount != 0 && supply + amount <= face;
        attempt(address(this), abi.encodeCall(token.mint, (to, id, amount)), expected);
    }

    function handleFreeze(uint8 seed, uint8 idSeed, uint128 amount) external {
        (address account,, uint256 id) = pick(seed, 0, idSeed);
        uint256 some = amount % (FACE / 6);
        token.setFrozenTokens(account, id, amount % 8 == 0 ? amount : amount % 2 == 0 ? 0 : some);
        send0(account, id);
    }

    function handleForcedTransfer(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        uint256 balance = token.balanceOf(from, id);
        uint256 amount = amountSeed % (balance + 2);
        bool expected = amount <= balance && from != to && token.canReceive(to);
        uint256 frozen = token.getFrozenTokens(from, id);
        uint256 unfrozen = frozen >= balance ? 0 : balance - frozen;
        remember();
        attempt(address(this), abi.encodeCall(token.forcedTransfer, (from, to, id, amount)), expected);
        onlyMoved(expected, from, to, id, amount);
        uint256 lifted = expected && amount > unfrozen ? amount - unfrozen : 0;
        same(token.getFrozenTokens(from, id), frozen - lifted);
    }

    function handleAddressFreeze(uint8 seed, uint8 rarely) external {
        token.setAddressFrozen(actors[seed % 5], rarely % 4 == 0);
    }

    function handlePause(uint8 rarely) external {
        if (rarely % 8 == 0) token.pause();
        else token.unpause();
    }

    function handleBurn(uint8 idSeed, uint8 rarely, bool forgetOne) external {
        if (rarely % 8 != 0) return;
        uint256 id = idSeed % IDS;
        (, uint256 supply,,,, bool burned) = token.receivableOf(id);
        uint256 named = forgetOne ? 5 : 6;
        address[] memory holders = new address[](named);
        for (uint256 i = 0; i < named; ++i) {
            holders[i] = wallets[i];
        }
        bool complete = !forgetOne || token.balanceOf(HEIR, id) == 0;
        attempt(address(this), abi.encodeCall(token.burnReceivable, (id, holders, "settled")), !burned && complete);
        if (!burned && complete) same(token.totalSupply(id), 0);
        else same(token.totalSupply(id), supply);
    }

    function invariant_balances_add_up_to_the_supply_and_never_exceed_the_face() public view {
        for (uint256 id = 0; id < IDS; ++id) {
            uint256 sum;
            for (uint256 i = 0; i < 6; ++i) {
                sum += token.balanceOf(wallets[i], id);
            }
            (uint256 face, uint256 supply,,, bool exists, bool burned) = token.receivableOf(id);
            same(sum, supply);
            same(face, FACE);
            isTrue(exists && supply <= face);
            isTrue(!burned || supply == 0);
        }
    }

    function actorsList() private view returns (address[] memory list) {
        list = new address[](6);
        for (uint256 i = 0; i < 6; ++i) {
            list[i] = wallets[i];
        }
    }

    function remember() private {
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 id = 0; id < IDS; ++id) {
                before[i][id] = token.balanceOf(wallets[i], id);
                frozenBefore[i][id] = token.getFrozenTokens(wallets[i], id);
            }
        }
    }

    function nothingMoved() private view {
        onlyMoved(false, address(0), address(0), 0, 0);
    }

    /// @dev After what holders and their operators do: no frozen amount changed, and none of it left.
    function frozenStayed() private view {
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 id = 0; id < IDS; ++id) {
                uint256 frozen = token.getFrozenTokens(wallets[i], id);
                uint256 balance = token.balanceOf(wallets[i], id);
                same(frozen, frozenBefore[i][id]);
                isTrue(balance >= before[i][id] || balance >= frozen);
            }
        }
    }

    /// @dev All other holdings stand as they stood.
    function onlyMoved(bool moved, address from, address to, uint256 id, uint256 amount) private view {
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 each = 0; each < IDS; ++each) {
                uint256 expected = before[i][each];
                if (moved && each == id && from != to) {
                    if (wallets[i] == from) expected -= amount;
                    if (wallets[i] == to) expected += amount;
                }
                same(token.balanceOf(wallets[i], each), expected);
            }
        }
    }

    function pick(uint8 fromSeed, uint8 toSeed, uint8 idSeed)
        private
        view
        returns (address from, address to, uint256 id)
    {
        return (actors[fromSeed % 5], actors[toSeed % 5], idSeed % IDS);
    }

    function attempt(address caller, bytes memory data, bool expected) private {
        vm.prank(caller);
        (bool success,) = address(token).call(data);
        require(success == expected, "succeeded against expectation, or failed so");
    }

    /// @dev Frozen tokens do not stop an empty transfer.
    function send0(address account, uint256 id) private {
        bool expected = token.canTransfer(account, account, id, 0);
        attempt(account, abi.encodeCall(token.safeTransferFrom, (account, account, id, 0, "")), expected);
    }
}
