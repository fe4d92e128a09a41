// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AgentRole} from "./access/AgentRole.sol";
import {IAgentRole} from "./interfaces/IAgentRole.sol";
import {IERC1155, IERC1155Receiver} from "./interfaces/IERC1155.sol";
import {IERC165} from "./interfaces/IERC165.sol";
import {IERC173} from "./interfaces/IERC173.sol";
import {IERC7943MultiToken} from "./interfaces/IERC7943MultiToken.sol";
import {IFXCompliance, IWalletStatus} from "./interfaces/IFinTokenX.sol";

/// @notice Receivables as an ERC-1155 token under ERC-7943 control: one id is one receivable, one unit is one penny
/// of its face. ERC-3643's administrative functions are here with an id added; ERC-3643 itself is not claimed,
/// because it demands ERC-20.
///
/// Holders' transfers are refused with TransferRefused(reason) exactly when canTransfer is false. The agent's forced
/// transfers, recoveries and burns pass pauses, freezes and rules, but never to a wallet that may not receive.
///
/// Every function, a batch too, has written everything before it calls the first receiver, so a receiver that calls
/// back meets a finished state.
contract FXReceivableToken is AgentRole, IERC165, IERC1155, IERC7943MultiToken {
    /// @dev One slot. An id that once existed never exists anew: `exists` is never cleared.
    struct Receivable {
        uint96 face;
        uint96 supply;
        uint40 dueAt;
        bool exists;
        bool burned;
        bool paused;
    }

    /// @dev One slot. The frozen amount may exceed the balance (ERC-7943).
    struct Holding {
        uint128 balance;
        uint128 frozen;
    }

    uint8 private constant WALLET_FROZEN = 1;
    /// @dev A wallet that was lost and recovered neither sends nor receives again, whoever finds its key.
    uint8 private constant WALLET_RETIRED = 2;

    string public name;
    string public symbol;

    /// @dev One slot.
    IFXCompliance private _compliance;
    bool public paused;

    mapping(uint256 id => Receivable) private _receivables;
    mapping(uint256 id => bytes32) private _documentHashes;
    mapping(uint256 id => mapping(address account => Holding)) private _holdings;
    mapping(address account => uint8) private _walletFlags;
    mapping(address account => mapping(address operator => bool)) public isApprovedForAll;
    mapping(address account => bool) public isMinter;

    event ComplianceAdded(address indexed compliance);
    event MinterAdded(address indexed minter);
    event MinterRemoved(address indexed minter);
    event ReceivableCreated(uint256 indexed id, uint256 face, uint64 dueAt, bytes32 documentHash);
    event ReceivableBurned(uint256 indexed id, bytes32 reason);
    event Paused(address indexed account);
    event Unpaused(address indexed account);
    event TokenPauseSet(uint256 indexed id, bool paused);
    event AddressFrozen(address indexed account, bool indexed frozen, address indexed agent);
    event RecoverySuccess(address indexed lostWallet, address indexed newWallet, bytes32 indexed subjectHash);

    /// @notice A transfer or mint that the rules forbid; the reason is ASCII, as in canTransferReason.
    error TransferRefused(bytes32 reason);
    error NotMinter(address account);
    error InvalidReceivable(uint256 id);
    error ReceivableExists(uint256 id);
    error UnknownReceivable(uint256 id);
    error ReceivableAlreadyBurned(uint256 id);
    error InvalidAmount(uint256 amount);
    error FaceExceeded(uint256 id, uint256 face, uint256 supply);
    error HoldersIncomplete(uint256 id, uint256 remaining);
    error RecoveryOfAnotherSubject(address lostWallet, address newWallet);
    /// @notice A forced transfer that would move nothing and yet lift a freeze.
    error ForcedTransferToSelf(address account);
    error LengthMismatch();

    /// @param minter_ first minter; the zero address names none.
    constructor(
        string memory name_,
        string memory symbol_,
        address compliance_,
        address owner_,
        address agent_,
        address minter_
    ) AgentRole(owner_, agent_) {
        name = name_;
        symbol = symbol_;
        _setCompliance(compliance_);
        if (minter_ != address(0)) _addMinter(minter_);
    }

    modifier onlyMinter() {
        if (!isMinter[msg.sender]) revert NotMinter(msg.sender);
        _;
    }

    // --- the owner's part ---

    /// @notice Replaces the rules, and with them the identity registry that they ask.
    function setCompliance(address compliance_) external onlyOwner {
        _setCompliance(compliance_);
    }

    function addMinter(address minter) external onlyOwner {
        if (minter == address(0)) revert ZeroAddress();
        _addMinter(minter);
    }

    function removeMinter(address minter) external onlyOwner {
        if (!isMinter[minter]) revert NotMinter(minter);
        isMinter[minter] = false;
        emit MinterRemoved(minter);
    }

    // --- the minter's part ---

    /// @notice Creates a receivable and mints its whole face, in one transaction.
    function issueReceivable(address to, uint256 id, uint256 face, uint64 dueAt, bytes32 documentHash)
        external
        onlyMinter
    {
        _create(id, face, dueAt, documentHash);
        _mint(to, id, face);
        _requireAcceptance(address(0), to, id, face, "");
    }

    /// @param face pence, the most that may ever be minted of the id.
    /// @param dueAt Unix seconds.
    /// @param documentHash hash of the invoice document.
    function createReceivable(uint256 id, uint256 face, uint64 dueAt, bytes32 documentHash) external onlyMinter {
        _create(id, face, dueAt, documentHash);
    }

    function mint(address to, uint256 id, uint256 amount) external onlyMinter {
        _mint(to, id, amount);
        _requireAcceptance(address(0), to, id, amount, "");
    }

    function batchMint(address[] calldata tos, uint256[] calldata ids, uint256[] calldata amounts) external onlyMinter {
        _requireLengths(tos.length, ids.length, amounts.length);
        for (uint256 i = 0; i < tos.length; ++i) {
            _mint(tos[i], ids[i], amounts[i]);
        }
        for (uint256 i = 0; i < tos.length; ++i) {
            _requireAcceptance(address(0), tos[i], ids[i], amounts[i], "");
        }
    }

    // --- the agent's part ---

    /// @notice Burns everything of a receivable and retires its id for ever.
    /// @param holders all that hold some of it; the call fails if one is left out.
    function burnReceivable(uint256 id, address[] calldata holders, bytes32 reason) external onlyAgent {
        Receivable storage receivable = _existing(id);
        uint256 remaining = receivable.supply;
        for (uint256 i = 0; i < holders.length; ++i) {
            Holding memory held = _holdings[id][holders[i]];
            if (held.balance == 0 && held.frozen == 0) continue;
            remaining -= held.balance;
            delete _holdings[id][holders[i]];
            if (held.frozen != 0) emit Frozen(holders[i], id, 0);
            if (held.balance != 0) emit TransferSingle(msg.sender, holders[i], address(0), id, held.balance);
        }
        if (remaining != 0) revert HoldersIncomplete(id, remaining);
        receivable.supply = 0;
        receivable.burned = true;
        emit ReceivableBurned(id, reason);
    }

    function pause() external onlyAgent {
        paused = true;
        emit Paused(msg.sender);
    }

    function unpause() external onlyAgent {
        paused = false;
        emit Unpaused(msg.sender);
    }

    function pauseToken(uint256 id) external onlyAgent {
        _existing(id).paused = true;
        emit TokenPauseSet(id, true);
    }

    function unpauseToken(uint256 id) external onlyAgent {
        _existing(id).paused = false;
        emit TokenPauseSet(id, false);
    }

    function setAddressFrozen(address account, bool frozen) external onlyAgent {
        _setAddressFrozen(account, frozen);
    }

    function batchSetAddressFrozen(address[] calldata accounts, bool[] calldata frozen) external onlyAgent {
        if (accounts.length != frozen.length) revert LengthMismatch();
        for (uint256 i = 0; i < accounts.length; ++i) {
            _setAddressFrozen(accounts[i], frozen[i]);
        }
    }

    /// @notice ERC-7943: sets the frozen amount, which may exceed the balance.
    function setFrozenTokens(address account, uint256 tokenId, uint256 amount) external onlyAgent returns (bool) {
        _setFrozen(account, tokenId, amount);
        return true;
    }

    /// @notice ERC-3643: freezes so much more, at most what the account holds unfrozen.
    function freezePartialTokens(address account, uint256 id, uint256 amount) external onlyAgent {
        _freezeMore(account, id, amount);
    }

    /// @notice ERC-3643: freezes so much less.
    function unfreezePartialTokens(address account, uint256 id, uint256 amount) external onlyAgent {
        _freezeLess(account, id, amount);
    }

    function batchFreezePartialTokens(address[] calldata accounts, uint256[] calldata ids, uint256[] calldata amounts)
        external
        onlyAgent
    {
        _requireLengths(accounts.length, ids.length, amounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            _freezeMore(accounts[i], ids[i], amounts[i]);
        }
    }

    function batchUnfreezePartialTokens(address[] calldata accounts, uint256[] calldata ids, uint256[] calldata amounts)
        external
        onlyAgent
    {
        _requireLengths(accounts.length, ids.length, amounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            _freezeLess(accounts[i], ids[i], amounts[i]);
        }
    }

    /// @notice Moves tokens without the holder's consent. Frozen tokens go last; those that went are no longer frozen,
    /// all others stay so. To the holder itself nothing is forced: that would only lift a freeze.
    function forcedTransfer(address from, address to, uint256 tokenId, uint256 amount)
        external
        onlyAgent
        returns (bool)
    {
        _forcedTransfer(from, to, tokenId, amount);
        _requireAcceptance(from, to, tokenId, amount, "");
        return true;
    }

    function batchForcedTransfer(
        address[] calldata froms,
        address[] calldata tos,
        uint256[] calldata ids,
        uint256[] calldata amounts
    ) external onlyAgent {
        _requireLengths(froms.length, tos.length, ids.length);
        if (froms.length != amounts.length) revert LengthMismatch();
        for (uint256 i = 0; i < froms.length; ++i) {
            _forcedTransfer(froms[i], tos[i], ids[i], amounts[i]);
        }
        for (uint256 i = 0; i < froms.length; ++i) {
            _requireAcceptance(froms[i], tos[i], ids[i], amounts[i], "");
        }
    }

    /// @notice Moves all of a lost wallet's tokens of these ids, with their frozen amounts, to another wallet of the
    /// same subject. If the lost wallet was frozen the new one becomes so. The lost wallet is retired for ever; name
    /// every id that it holds, or call again (before that, unfreeze the new wallet if need be).
    /// @param subjectHash the subject under which both wallets stand in the identity registry.
    function recoveryAddress(address lostWallet, address newWallet, bytes32 subjectHash, uint256[] calldata ids)
        external
        onlyAgent
        returns (bool)
    {
        IWalletStatus registry = IWalletStatus(_compliance.identityRegistry());
        bool sameSubject = subjectHash != 0 && registry.subjectOf(lostWallet) == subjectHash
            && registry.subjectOf(newWallet) == subjectHash;
        if (lostWallet == newWallet || !sameSubject) revert RecoveryOfAnotherSubject(lostWallet, newWallet);
        if (!canReceive(newWallet)) revert ERC7943CannotReceive(newWallet);
        uint256[] memory amounts = new uint256[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            amounts[i] = _recover(lostWallet, newWallet, ids[i]);
        }
        if (_walletFlags[lostWallet] & WALLET_FROZEN != 0) _setAddressFrozen(newWallet, true);
        _walletFlags[lostWallet] |= WALLET_RETIRED;
        emit TransferBatch(msg.sender, lostWallet, newWallet, ids, amounts);
        emit RecoverySuccess(lostWallet, newWallet, subjectHash);
        _requireBatchAcceptance(lostWallet, newWallet, ids, amounts, "");
        return true;
    }

    // --- the holder's part ---

    function setApprovalForAll(address operator, bool approved) external {
        if (operator == address(0)) revert ERC1155InvalidOperator(operator);
        isApprovedForAll[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    function safeTransferFrom(address from, address to, uint256 id, uint256 value, bytes calldata data) external {
        _requireMayMove(from, to);
        _transfer(from, to, id, value);
        emit TransferSingle(msg.sender, from, to, id, value);
        _requireAcceptance(from, to, id, value, data);
    }

    function safeBatchTransferFrom(
        address from,
        address to,
        uint256[] calldata ids,
        uint256[] calldata values,
        bytes calldata data
    ) external {
        if (ids.length != values.length) {
            revert ERC1155InvalidArrayLength(ids.length, values.length);
        }
        _requireMayMove(from, to);
        for (uint256 i = 0; i < ids.length; ++i) {
            _transfer(from, to, ids[i], values[i]);
        }
        emit TransferBatch(msg.sender, from, to, ids, values);
        _requireBatchAcceptance(from, to, ids, values, data);
    }

    /// @notice Sends from the caller to several receivers; all of it happens or none. The rules are asked once for all
    /// of it; should they not let all pass, one by one, so that the first refusal is named as in a single transfer.
    function batchTransfer(address[] calldata tos, uint256[] calldata ids, uint256[] calldata amounts) external {
        _requireLengths(tos.length, ids.length, amounts.length);
        bool cleared = _allowsBatch(msg.sender, tos, ids, amounts);
        for (uint256 i = 0; i < tos.length; ++i) {
            if (tos[i] == address(0)) revert ERC1155InvalidReceiver(tos[i]);
            if (cleared) {
                bytes32 reason = _ownRefusal(msg.sender, tos[i], ids[i], amounts[i]);
                if (reason != 0) revert TransferRefused(reason);
                _move(msg.sender, tos[i], ids[i], amounts[i]);
            } else {
                _transfer(msg.sender, tos[i], ids[i], amounts[i]);
            }
            emit TransferSingle(msg.sender, msg.sender, tos[i], ids[i], amounts[i]);
        }
        // No receiver is called before all that the rules have cleared is done.
        for (uint256 i = 0; i < tos.length; ++i) {
            _requireAcceptance(msg.sender, tos[i], ids[i], amounts[i], "");
        }
    }

    // --- questions ---

    /// @notice Whether rules, pauses and freezes let this transfer pass, and if not the first reason in ASCII:
    /// "paused", "unknown token", "token burned", "token paused", "address frozen", "tokens frozen", then those of
    /// the compliance contract, and "compliance unavailable" should that one fail. Never reverts, and does not ask
    /// whether the sender holds enough.
    function canTransferReason(address from, address to, uint256 id, uint256 amount)
        public
        view
        returns (bool, bytes32)
    {
        bytes32 reason = _ownRefusal(from, to, id, amount);
        if (reason != 0) return (false, reason);
        try _compliance.canTransfer(from, to, id, amount) returns (bool allowed, bytes32 ruleReason) {
            return (allowed, ruleReason);
        } catch {
            return (false, "compliance unavailable");
        }
    }

    /// @notice ERC-7943: canTransferReason without the reason.
    function canTransfer(address from, address to, uint256 tokenId, uint256 amount) external view returns (bool) {
        (bool allowed,) = canTransferReason(from, to, tokenId, amount);
        return allowed;
    }

    /// @notice ERC-7943: whether the account may send at all. Never reverts.
    function canSend(address account) external view returns (bool) {
        if (_walletFlags[account] != 0) return false;
        try _compliance.canSend(account) returns (bool allowed, bytes32) {
            return allowed;
        } catch {
            return false;
        }
    }

    /// @notice ERC-7943: whether the account may receive at all. Never reverts.
    function canReceive(address account) public view returns (bool) {
        (bool allowed,) = _canReceiveReason(account);
        return allowed;
    }

    function balanceOf(address account, uint256 id) public view returns (uint256) {
        return _holdings[id][account].balance;
    }

    function balanceOfBatch(address[] calldata accounts, uint256[] calldata ids)
        external
        view
        returns (uint256[] memory balances)
    {
        if (accounts.length != ids.length) revert ERC1155InvalidArrayLength(ids.length, accounts.length);
        balances = new uint256[](accounts.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            balances[i] = balanceOf(accounts[i], ids[i]);
        }
    }

    /// @return The frozen amount, which may exceed the balance.
    function getFrozenTokens(address account, uint256 tokenId) external view returns (uint256) {
        return _holdings[tokenId][account].frozen;
    }

    /// @return Whether the wallet is frozen, or retired by a recovery.
    function isFrozen(address account) external view returns (bool) {
        return _walletFlags[account] != 0;
    }

    function tokenPaused(uint256 id) external view returns (bool) {
        return _receivables[id].paused;
    }

    function totalSupply(uint256 id) external view returns (uint256) {
        return _receivables[id].supply;
    }

    /// @notice Two: a unit is a penny.
    function decimals() external pure returns (uint8) {
        return 2;
    }

    /// @notice What is recorded of a receivable; `exists` stays true after the burn.
    function receivableOf(uint256 id)
        external
        view
        returns (uint256 face, uint256 supply, uint64 dueAt, bytes32 documentHash, bool exists, bool burned)
    {
        Receivable storage receivable = _receivables[id];
        return (
            receivable.face,
            receivable.supply,
            receivable.dueAt,
            _documentHashes[id],
            receivable.exists,
            receivable.burned
        );
    }

    function compliance() external view returns (address) {
        return address(_compliance);
    }

    function identityRegistry() external view returns (address) {
        return _compliance.identityRegistry();
    }

    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IERC173).interfaceId
            || interfaceId == type(IAgentRole).interfaceId || interfaceId == type(IERC1155).interfaceId
            || interfaceId == type(IERC7943MultiToken).interfaceId;
    }

    // --- inside ---

    function _addMinter(address minter) private {
        isMinter[minter] = true;
        emit MinterAdded(minter);
    }

    /// @dev Asks the new contract once, so that one that cannot answer is refused here and not at the next transfer.
    function _setCompliance(address compliance_) private {
        _requireContract(compliance_);
        IFXCompliance candidate = IFXCompliance(compliance_);
        _requireContract(candidate.identityRegistry());
        candidate.canTransfer(address(0), address(0), 0, 0);
        candidate.canSend(address(0));
        candidate.canReceive(address(0));
        _compliance = candidate;
        emit ComplianceAdded(compliance_);
    }

    function _create(uint256 id, uint256 face, uint64 dueAt, bytes32 documentHash) private {
        Receivable storage receivable = _receivables[id];
        if (receivable.exists) revert ReceivableExists(id);
        bool fits = face <= type(uint96).max && dueAt <= type(uint40).max;
        if (face == 0 || dueAt == 0 || documentHash == 0 || !fits) revert InvalidReceivable(id);
        receivable.face = uint96(face);
        receivable.dueAt = uint40(dueAt);
        receivable.exists = true;
        _documentHashes[id] = documentHash;
        emit ReceivableCreated(id, face, dueAt, documentHash);
    }

    /// @dev Asks no receiver whether it accepts: that is for the caller, when all is written.
    function _mint(address to, uint256 id, uint256 amount) private {
        if (amount == 0) revert InvalidAmount(amount);
        Receivable storage receivable = _existing(id);
        if (paused) revert TransferRefused("paused");
        if (receivable.paused) revert TransferRefused("token paused");
        (bool allowed, bytes32 reason) = _canReceiveReason(to);
        if (!allowed) revert TransferRefused(reason);
        if (amount > receivable.face - receivable.supply) {
            revert FaceExceeded(id, receivable.face, receivable.supply);
        }
        receivable.supply += uint96(amount);
        _holdings[id][to].balance += uint128(amount);
        emit TransferSingle(msg.sender, address(0), to, id, amount);
    }

    /// @return receivable one that was created and not burned.
    function _existing(uint256 id) private view returns (Receivable storage receivable) {
        receivable = _receivables[id];
        if (!receivable.exists) revert UnknownReceivable(id);
        if (receivable.burned) revert ReceivableAlreadyBurned(id);
    }

    function _setAddressFrozen(address account, bool frozen) private {
        uint8 flags = _walletFlags[account];
        _walletFlags[account] = frozen ? flags | WALLET_FROZEN : flags & ~WALLET_FROZEN;
        emit AddressFrozen(account, frozen, msg.sender);
    }

    function _setFrozen(address account, uint256 id, uint256 amount) private {
        if (amount > type(uint128).max) revert InvalidAmount(amount);
        _holdings[id][account].frozen = uint128(amount);
        emit Frozen(account, id, amount);
    }

    function _freezeMore(address account, uint256 id, uint256 amount) private {
        Holding memory held = _holdings[id][account];
        uint256 unfrozen = _unfrozen(held);
        if (amount > unfrozen) revert ERC7943InsufficientUnfrozenBalance(account, id, amount, unfrozen);
        _setFrozen(account, id, held.frozen + amount);
    }

    function _freezeLess(address account, uint256 id, uint256 amount) private {
        uint256 frozen = _holdings[id][account].frozen;
        if (amount > frozen) revert InvalidAmount(amount);
        _setFrozen(account, id, frozen - amount);
    }

    /// @dev ERC-7943 wants canReceive asked, and Frozen emitted before the transfer. Asks no receiver whether it
    /// accepts: that is for the caller, when all is written.
    function _forcedTransfer(address from, address to, uint256 id, uint256 amount) private {
        if (from == to) revert ForcedTransferToSelf(from);
        if (!canReceive(to)) revert ERC7943CannotReceive(to);
        Holding memory held = _holdings[id][from];
        uint256 unfrozen = _unfrozen(held);
        if (amount <= held.balance && amount > unfrozen) _setFrozen(from, id, held.frozen - (amount - unfrozen));
        _move(from, to, id, amount);
        emit TransferSingle(msg.sender, from, to, id, amount);
        emit ForcedTransfer(from, to, id, amount);
    }

    /// @return balance what was moved.
    function _recover(address lostWallet, address newWallet, uint256 id) private returns (uint256 balance) {
        Holding memory lost = _holdings[id][lostWallet];
        delete _holdings[id][lostWallet];
        if (lost.frozen != 0) {
            emit Frozen(lostWallet, id, 0);
            uint256 frozen = uint256(_holdings[id][newWallet].frozen) + lost.frozen;
            _setFrozen(newWallet, id, frozen > type(uint128).max ? type(uint128).max : frozen);
        }
        _holdings[id][newWallet].balance += lost.balance;
        return lost.balance;
    }

    function _requireMayMove(address from, address to) private view {
        if (to == address(0)) revert ERC1155InvalidReceiver(to);
        if (msg.sender != from && !isApprovedForAll[from][msg.sender]) {
            revert ERC1155MissingApprovalForAll(msg.sender, from);
        }
    }

    function _transfer(address from, address to, uint256 id, uint256 amount) private {
        (bool allowed, bytes32 reason) = canTransferReason(from, to, id, amount);
        if (!allowed) revert TransferRefused(reason);
        _move(from, to, id, amount);
    }

    function _allowsBatch(address from, address[] calldata tos, uint256[] calldata ids, uint256[] calldata amounts)
        private
        view
        returns (bool)
    {
        try _compliance.allowsBatch(from, tos, ids, amounts) returns (bool allowed) {
            return allowed;
        } catch {
            return false;
        }
    }

    function _move(address from, address to, uint256 id, uint256 amount) private {
        mapping(address => Holding) storage holdings = _holdings[id];
        Holding storage source = holdings[from];
        uint256 balance = source.balance;
        if (amount > balance) revert ERC1155InsufficientBalance(from, balance, amount, id);
        source.balance = uint128(balance - amount);
        holdings[to].balance += uint128(amount);
    }

    /// @return reason why the token itself refuses, zero when it does not.
    function _ownRefusal(address from, address to, uint256 id, uint256 amount) private view returns (bytes32 reason) {
        if (paused) return "paused";
        Receivable storage receivable = _receivables[id];
        if (!receivable.exists) return "unknown token";
        if (receivable.burned) return "token burned";
        if (receivable.paused) return "token paused";
        if (_walletFlags[from] != 0 || _walletFlags[to] != 0) return "address frozen";
        Holding memory held = _holdings[id][from];
        if (amount <= held.balance && amount > _unfrozen(held)) return "tokens frozen";
        return 0;
    }

    function _canReceiveReason(address account) private view returns (bool, bytes32) {
        if (_walletFlags[account] != 0) return (false, "address frozen");
        try _compliance.canReceive(account) returns (bool allowed, bytes32 reason) {
            return (allowed, reason);
        } catch {
            return (false, "compliance unavailable");
        }
    }

    function _unfrozen(Holding memory held) private pure returns (uint256) {
        return held.frozen >= held.balance ? 0 : held.balance - held.frozen;
    }

    function _requireAcceptance(address from, address to, uint256 id, uint256 amount, bytes memory data) private {
        if (to.code.length == 0) return;
        bytes4 answer = IERC1155Receiver(to).onERC1155Received(msg.sender, from, id, amount, data);
        if (answer != IERC1155Receiver.onERC1155Received.selector) revert ERC1155InvalidReceiver(to);
    }

    function _requireBatchAcceptance(
        address from,
        address to,
        uint256[] calldata ids,
        uint256[] memory amounts,
        bytes memory data
    ) private {
        if (to.code.length == 0) return;
        bytes4 answer = IERC1155Receiver(to).onERC1155BatchReceived(msg.sender, from, ids, amounts, data);
        if (answer != IERC1155Receiver.onERC1155BatchReceived.selector) revert ERC1155InvalidReceiver(to);
    }

    function _requireLengths(uint256 first, uint256 second, uint256 third) private pure {
        if (first != second || first != third) revert LengthMismatch();
    }
}
