// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FXTest} from "./FXTest.sol";

/// @notice Random sequences of issues, mints, transfers, freezes, forced transfers, recoveries and burns.
/// Each handler also checks that its call succeeds exactly when it should, and never reverts by itself.
contract InvariantTest is FXTest {
    uint256 private constant IDS = 3;
    address[5] private actors = [MINTING, ALICE, BOB, address(0xC001), address(0xD001)];

    function setUp() public override {
        super.setUp();
        for (uint256 i = 3; i < 5; ++i) {
            register(actors[i], LENDER, true);
        }
        for (uint256 id = 0; id < IDS; ++id) {
            token.issueReceivable(MINTING, id, FACE, DUE, DOCUMENT);
        }
    }

    function targetContracts() public view returns (address[] memory) {
        return one(address(this));
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](7);
        selectors[0] = this.handleTransfer.selector;
        selectors[1] = this.handleMint.selector;
        selectors[2] = this.handleFreeze.selector;
        selectors[3] = this.handleForcedTransfer.selector;
        selectors[4] = this.handleAddressFreeze.selector;
        selectors[5] = this.handlePause.selector;
        selectors[6] = this.handleBurn.selector;
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
        attempt(from, abi.encodeCall(token.safeTransferFrom, (from, to, id, amount, "")), expected);
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
        token.setFrozenTokens(account, id, amount % 2 == 0 ? amount : amount % FACE);
        send0(account, id);
    }

    function handleForcedTransfer(uint8 fromSeed, uint8 toSeed, uint8 idSeed, uint96 amountSeed) external {
        (address from, address to, uint256 id) = pick(fromSeed, toSeed, idSeed);
        uint256 balance = token.balanceOf(from, id);
        uint256 amount = amountSeed % (balance + 2);
        bool expected = amount <= balance && token.canReceive(to);
        attempt(address(this), abi.encodeCall(token.forcedTransfer, (from, to, id, amount)), expected);
    }

    function handleAddressFreeze(uint8 seed, bool frozen) external {
        token.setAddressFrozen(actors[seed % 5], frozen);
    }

    function handlePause(bool on) external {
        if (on) token.pause();
        else token.unpause();
    }

    function handleBurn(uint8 idSeed, uint8 rarely, bool forgetOne) external {
        if (rarely % 8 != 0) return;
        uint256 id = idSeed % IDS;
        (, uint256 supply,,,, bool burned) = token.receivableOf(id);
        uint256 named = forgetOne ? 4 : 5;
        address[] memory holders = new address[](named);
        for (uint256 i = 0; i < named; ++i) {
            holders[i] = actors[i];
        }
        bool complete = !forgetOne || token.balanceOf(actors[4], id) == 0;
        attempt(address(this), abi.encodeCall(token.burnReceivable, (id, holders, "settled")), !burned && complete);
        if (!burned && complete) same(token.totalSupply(id), 0);
        else same(token.totalSupply(id), supply);
    }

    function invariant_balances_add_up_to_the_supply_and_never_exceed_the_face() public view {
        for (uint256 id = 0; id < IDS; ++id) {
            uint256 sum;
            for (uint256 i = 0; i < 5; ++i) {
                sum += token.balanceOf(actors[i], id);
            }
            (uint256 face, uint256 supply,,, bool exists, bool burned) = token.receivableOf(id);
            same(sum, supply);
            same(face, FACE);
            isTrue(exists && supply <= face);
            isTrue(!burned || supply == 0);
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
