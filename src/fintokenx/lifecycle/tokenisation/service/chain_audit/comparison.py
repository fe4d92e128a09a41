"""Database against chain, both given: which differences are there that nothing in flight explains. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fintokenx.kernel.money import PENCE_MAX, Pence
from fintokenx.lifecycle.chainwork.ports import ChainHead
from fintokenx.lifecycle.tokenisation.ports import (
    Claims,
    Holding,
    Logged,
    Standing,
    StandingIdentity,
    StandingReceivable,
)
from fintokenx.lifecycle.tokenisation.service.chain_audit.expectations import (
    Expected,
    ExpectedToken,
    ExpectedWallet,
    TokenStanding,
)
from fintokenx.lifecycle.tokenisation.types import Drift, DriftKind, Reconciliation


@dataclass(frozen=True, slots=True)
class Questions:
    """What the chain must be asked: all that the database knows, and all that the logs know."""

    token_ids: list[int]
    holdings: list[Holding]
    wallets: list[str]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the chain says at one block."""

    at: ChainHead
    contract_address: str
    minting_wallet: str
    logged: Logged
    standing: Standing


def questions(wanted: Expected, logged: Logged) -> Questions:
    """Each once, in a fixed order."""
    holdings = set(logged.balances)
    for each in wanted.tokens:
        holdings |= {(each.token.token_id, wallet) for way in each.standings for wallet in way.holdings}
    token_ids = {each.token.token_id for each in wanted.tokens} | logged.token_ids | {held for held, _ in holdings}
    wallets = {each.wallet.address for each in wanted.wallets} | logged.wallets
    return Questions(sorted(token_ids), sorted(holdings), sorted(wallets))


def compare(wanted: Expected, chain: Answers) -> Reconciliation:
    """Every drift, by name."""
    held: dict[int, dict[str, int]] = {}
    for (token_id, wallet), balance in chain.standing.balances.items():
        held.setdefault(token_id, {})[wallet] = balance
    drifts = list(_log_drifts(wanted, chain))
    for token in wanted.tokens:
        drifts += _token_drifts(token, chain, held.get(token.token.token_id, {}))
    for identity in wanted.wallets:
        drifts += _wallet_drifts(identity, chain.standing.identities[identity.wallet.address])
    drifts += _strangers(wanted, chain, held)
    return Reconciliation(
        block_number=chain.at.number,
        block_time_unix=chain.at.timestamp_unix,
        tokens=len(chain.standing.receivables),
        holdings=len(chain.standing.balances),
        wallets=len(chain.standing.identities),
        events=chain.logged.events,
        in_flight=sum(each.in_flight for each in wanted.tokens) + sum(each.in_flight for each in wanted.wallets),
        drifts=tuple(drifts),
    )


def _log_drifts(wanted: Expected, chain: Answers) -> Iterator[Drift]:
    """Where the token contract contradicts its own log."""
    known = {each.token.token_id: each.token for each in wanted.tokens}
    for (token_id, wallet), balance in chain.standing.balances.items():
        added_up = chain.logged.balances.get((token_id, wallet), 0)
        if added_up != balance:
            token = known.get(token_id)
            resource = f"{token.reference if token else _hex(token_id)} {wallet}"
            tenant_id = token.tenant_id if token else None
            yield Drift(DriftKind.HOLDING_LOG, resource, _money(added_up), _money(balance), tenant_id)


def _token_drifts(wanted: ExpectedToken, chain: Answers, held: dict[str, int]) -> list[Drift]:
    found = chain.standing.receivables[wanted.token.token_id]
    drifts: list[Drift] = []
    for way in reversed(wanted.standings):  # what is told in the end is how it differs from its own row
        drifts = list(_of_receivable(wanted, way, found))
        if way.exists == found.exists:  # of what is not there nobody holds anything
            drifts += _of_holdings(wanted, way, held)
        if not drifts:
            break
    address = wanted.token.contract_address
    if address is not None and address != chain.contract_address:
        drifts.append(_of_token(wanted, DriftKind.TOKEN_CONTRACT, address, chain.contract_address))
    return drifts


def _of_receivable(wanted: ExpectedToken, way: TokenStanding, found: StandingReceivable) -> Iterator[Drift]:
    token = wanted.token
    if way.exists != found.exists:
        says = f"{_whether(way.exists, 'minted')} ({token.state})"
        yield _of_token(wanted, DriftKind.TOKEN_EXISTENCE, says, _whether(found.exists, "minted"))
        return
    if not way.exists:
        return
    if way.burned != found.burned:
        yield _of_token(wanted, DriftKind.TOKEN_BURN, _whether(way.burned, "burned"), _whether(found.burned, "burned"))
    supply = 0 if way.burned else token.face.value
    for kind, ours, theirs in (
        (DriftKind.TOKEN_FACE, _money(token.face.value), _money(found.face_pence)),
        (DriftKind.TOKEN_SUPPLY, _money(supply), _money(found.supply_pence)),
        (DriftKind.TOKEN_DUE, _time(token.due_at_unix), _time(found.due_at_unix)),
        (DriftKind.TOKEN_DOCUMENT, token.document_sha256, found.document_sha256),
    ):
        if ours != theirs:
            yield _of_token(wanted, kind, ours, theirs)


def _of_holdings(wanted: ExpectedToken, way: TokenStanding, held: dict[str, int]) -> Iterator[Drift]:
    for wallet in sorted(way.holdings.keys() | held.keys()):
        ours, theirs = way.holdings.get(wallet, 0), held.get(wallet, 0)
        if ours != theirs:
            slices = [piece.id for piece in wanted.slices if piece.holder_wallet == wallet]
            says = f"{_money(ours)} ({', '.join(slices)})" if slices else _money(ours)
            resource = f"{wanted.token.reference} {wallet}"
            yield Drift(DriftKind.HOLDING, resource, says, _money(theirs), wanted.token.tenant_id)


def _wallet_drifts(wanted: ExpectedWallet, found: StandingIdentity) -> list[Drift]:
    if found in wanted.standings:
        return []
    ours, wallet = wanted.standings[0], wanted.wallet
    told = (
        (
            DriftKind.WALLET_REGISTRATION,
            _whether(ours.registered, "registered"),
            _whether(found.registered, "registered"),
        ),
        (DriftKind.WALLET_VERIFIED, _whether(ours.verified, "verified"), _whether(found.verified, "verified")),
        (DriftKind.WALLET_CLAIMS, _claims(ours.claims), _claims(found.claims)),
        (DriftKind.WALLET_EXPIRY, _time(ours.expires_at_unix), _time(found.expires_at_unix)),
        (DriftKind.WALLET_ROLE, _role(ours.is_investor), _role(found.is_investor)),
        (DriftKind.WALLET_COUNTRY, str(ours.country), str(found.country)),
        (DriftKind.WALLET_FLAG, _whether(ours.flagged, "flagged"), _whether(found.flagged, "flagged")),
    )
    resource = f"{wallet.subject_id} {wallet.address}"
    return [Drift(kind, resource, says, stands, wallet.tenant_id) for kind, says, stands in told if says != stands]


def _strangers(wanted: Expected, chain: Answers, held: dict[int, dict[str, int]]) -> Iterator[Drift]:
    """What stands on chain and the database knows nothing of."""
    known = {each.token.token_id for each in wanted.tokens}
    for token_id, found in chain.standing.receivables.items():
        if token_id in known or not found.exists:
            continue
        holders = [f"{wallet} {_money(balance)}" for wallet, balance in held.get(token_id, {}).items() if balance]
        stands = f"face {_money(found.face_pence)}, held by {', '.join(holders) or 'nobody'}"
        yield Drift(DriftKind.UNKNOWN_TOKEN, _hex(token_id), "no such token", stands, None)
    ours = {each.wallet.address for each in wanted.wallets} | {chain.minting_wallet}
    for wallet, identity in chain.standing.identities.items():
        if wallet not in ours and identity.registered:
            stands = f"registered with {_claims(identity.claims)}"
            yield Drift(DriftKind.UNKNOWN_WALLET, wallet, "no such wallet", stands, None)


def _of_token(wanted: ExpectedToken, kind: DriftKind, database: str, chain: str) -> Drift:
    return Drift(kind, wanted.token.reference, database, chain, wanted.token.tenant_id)


# --- words ---


def _money(pence: int) -> str:
    return str(Pence(pence)) if abs(pence) <= PENCE_MAX else f"{pence} pence"


def _time(unix: int) -> str:
    """The chain keeps more years than a calendar has."""
    try:
        return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%SZ}" if unix else "never"
    except (OverflowError, ValueError, OSError):
        return f"second {unix}"


def _claims(bits: int) -> str:
    known = [str(claim.name) for claim in Claims if claim & bits]
    strange = bits & ~sum(Claims)
    return ", ".join([*known, *([f"bits {strange:#x}"] if strange else [])]) or "none"


def _role(is_investor: bool) -> str:
    return "investor" if is_investor else "no investor"


def _whether(so: bool, word: str) -> str:
    return word if so else f"not {word}"


def _hex(token_id: int) -> str:
    return f"0x{token_id:064x}"
