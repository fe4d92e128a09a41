"""A random walk over every machine of the platform, on the real tables and through the record.

Each step takes one line of one machine: it makes a row that the schema accepts, or moves one, by ``audit.change`` under
the line's own action and an actor who may record it. So guards, keys and checks are in force, and what is left behind
is what a long life leaves: every table, every state, every kind of value.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fintokenx import audit
from fintokenx.app import catalogue
from fintokenx.kernel.caller import Caller, Role
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import NOTHING, Machine, Transition
from tests.support import World

Values = dict[str, Any]
FACE_PENCE = 100_000
DISCOUNT_PENCE = 2_000
NEXT_WALLET = "(next wallet)"
"""In a row of the walk, and no column: the wallet that follows a lost one."""
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass
class Made:
    """A row that the walk has made, as it believes it to be."""

    row: Values
    line: Transition
    ends: bool = False


@dataclass(frozen=True)
class Kind:
    """How rows of a machine's table look. ``born`` makes one without its state's columns; ``grown`` says what a state
    adds, given the row before (empty for a new one)."""

    table: str
    key: tuple[str, ...]
    born: Callable[[Walk, Tx, Transition], Any]
    grown: Callable[[Walk, Tx, str, Values], Values | Awaitable[Values]] = lambda _walk, _tx, _state, _row: {}


@dataclass
class Walk:
    """One walk in one tenant; ``chance`` decides everything."""

    world: World
    tenant_id: str
    chance: random.Random
    administrators: tuple[str, str]
    """Who asks and who approves; subject ids: the database knows who is one."""
    rows: dict[str, list[Made]] = field(default_factory=dict)
    taken: Counter[tuple[str, Transition]] = field(default_factory=Counter)
    numbers: int = 0
    """Where it begins to count. Some references are unique across tenants: walks side by side begin far apart."""

    @property
    def transitions(self) -> int:
        """How many state changes it has made, births included."""
        return sum(self.taken.values())

    def number(self) -> int:
        """Another number each time."""
        self.numbers += 1
        return self.numbers

    def code(self, length: int) -> str:
        """A fresh word in the alphabet of references."""
        number, digits = self.number(), ""
        for _ in range(length):
            number, digit = divmod(number, 32)
            digits = DIGITS[digit] + digits
        return digits

    def hexes(self, length: int) -> str:
        """Random lower-case hex digits."""
        return self.chance.randbytes(length // 2).hex()

    def words(self) -> str:
        """Text that asks for trouble in JSON and SQL."""
        return self.chance.choice(("plain", 'O\'Hara & "Sons"', "naïve ☃ \\ back", "  spaced\t", "{}", "null", "\\x00"))

    def sealed(self) -> str:
        """Something that looks sealed."""
        return f"sealed:v1:{self.hexes(64)}:{self.hexes(24)}"

    async def step(self) -> None:
        """One transition of some machine."""
        machine = self.chance.choice(catalogue.MACHINES)
        if machine.name == "tenant" and self.rows.get("tenant"):
            return
        choices: list[tuple[Transition, Made | None]] = [
            (line, None) for line in machine.transitions if line.source == NOTHING and self._may_begin(line)
        ]
        for made in self.rows.get(machine.name, []):
            if not made.ends:
                choices += [(line, made) for line in machine.transitions if line.source == made.row["state"]]
        line, made = self._chosen(machine, choices)
        async with self.world.database.transaction(self.tenant_id) as tx:
            if made is None:
                await self.make(tx, machine, line)
            else:
                await self.move(tx, machine, line, made)

    def _may_begin(self, line: Transition) -> bool:
        """The chain's sanctions list is confirmed by the platform's own tenant, which does not walk: confirm_list."""
        return line.event != "promise refresh"

    def _chosen(
        self, machine: Machine, choices: list[tuple[Transition, Made | None]]
    ) -> tuple[Transition, Made | None]:
        """Half of the time the shortest way to a line still to be taken, else anywhere, rather on than new."""
        far = self._steps_to_news(machine)
        nearest = min((far[line] for line, _made in choices if line in far), default=None)
        if nearest is not None and (nearest == 0 or self.chance.random() < 0.5):
            return self.chance.choice([choice for choice in choices if far.get(choice[0]) == nearest])
        moves = [choice for choice in choices if choice[1]]
        return self.chance.choice(moves if moves and self.chance.random() < 0.8 else choices)

    def _steps_to_news(self, machine: Machine) -> dict[Transition, int]:
        """How many steps each line is away from one that was never taken; lines that lead to none are not there."""
        far = {line: 0 for line in machine.transitions if not self.taken[machine.name, line]}
        edge = list(far)
        while edge:
            edge = [
                line
                for line in machine.transitions
                if line not in far and any(line.target == nearer.source for nearer in edge)
            ]
            steps = max(far.values()) + 1
            far |= dict.fromkeys(edge, steps)
        return far

    async def some(self, tx: Tx, machine_name: str, *, new: bool = False) -> Values:
        """A row of another machine to point at; made now if need be."""
        known = self.rows.get(machine_name, [])
        if known and not new:
            return self.chance.choice(known).row
        machine = next(machine for machine in catalogue.MACHINES if machine.name == machine_name)
        line = next(line for line in machine.transitions if line.source == NOTHING)
        return await self.make(tx, machine, line)

    async def confirm_list(self) -> None:
        """Promise what only the platform's own tenant does."""
        [machine] = [machine for machine in catalogue.MACHINES if machine.name == "chain tx"]
        async with self.world.database.transaction(self.tenant_id) as tx:
            await self.make(tx, machine, machine.next(NOTHING, "promise refresh"))

    async def make(self, tx: Tx, machine: Machine, line: Transition) -> Values:
        """A new row, recorded."""
        if machine.name != "tenant":
            await _home(self, tx)
        kind = KINDS[machine.name]
        row = {"tenant_id": self.tenant_id, **await kind.born(self, tx, line), "state": line.target}
        row |= await self._grown(kind, tx, line.target, row)
        columns = {name: value for name, value in row.items() if name != NEXT_WALLET}
        await self.record(tx, line, audit.insert(kind.table, columns), str(row[kind.key[-1]]))
        self._took(machine, line, Made(row, line))
        return row

    async def move(self, tx: Tx, machine: Machine, line: Transition, made: Made) -> None:
        """A row in another state, recorded."""
        kind = KINDS[machine.name]
        after = {"state": line.target, **await self._grown(kind, tx, line.target, made.row)}
        before = {column: made.row[column] for column in after}
        row = audit.update(kind.table, key={c: made.row[c] for c in kind.key}, before=before, after=after)
        await self.record(tx, line, row, str(made.row[kind.key[-1]]))
        made.row |= after
        made.ends = not any(later.source == line.target for later in machine.transitions)
        self._took(machine, line, None)

    async def _grown(self, kind: Kind, tx: Tx, state: str, row: Values) -> Values:
        added = kind.grown(self, tx, state, row)
        return added if isinstance(added, dict) else await added

    async def record(self, tx: Tx, line: Transition, row: audit.RowChange, resource: str) -> None:
        """One row under the line's action, by somebody who may."""
        action = next(action for action in catalogue.ACTIONS if action.name == line.action)
        role = next((role for role in action.roles if role is not Role.PLATFORM_ADMIN), action.roles[0])
        named = action.on_behalf_of == "required" or (
            action.on_behalf_of == "required_from_admin" and role is Role.PLATFORM_ADMIN
        )
        asks, approves = self.administrators
        administrator = approves if line.action == "ADMIN_SESSION_APPROVE" else asks
        actor = administrator if role is Role.PLATFORM_ADMIN else f"{role}:walk"
        caller = Caller(self.tenant_id, role, actor, on_behalf_of="sub_walk" if named else None)
        await audit.change(tx, caller, action=line.action, resource=resource, move=audit.Changes((row,)))

    def _took(self, machine: Machine, line: Transition, made: Made | None) -> None:
        self.taken[machine.name, line] += 1
        if made is not None:
            self.rows.setdefault(machine.name, []).append(made)


# --- how rows look ----------------------------------------------------------------------------------------------------


async def _tenant(walk: Walk, tx: Tx, _line: Transition) -> Values:
    return {
        "display_name": walk.words() + "!",
        "custom_domain": None,
        "theme": {"primary": "#123456", "deep": [1, {"b": None, "a": "\\x00"}], "on": True},
        "plan": "partner",
        "scope_rules": {"invoices": True},
        "mail_from": "invoices@fintokenx.example",
        "collections_account_name": "Collections",
        "collections_sort_code": "040004",
        "collections_account_number": "12345678",
        "asking_discount_bps": 180,
        "opened_at": tx.at,
    }


async def _api_key(walk: Walk, tx: Tx, _line: Transition) -> Values:
    await _home(walk, tx)
    return {
        "id": tx.ids.new("key"),
        "name": walk.words(),
        "key_sha256": walk.hexes(64),
        "scopes": walk.chance.choice((["*"], ["a:b", 'quo"ted', "com,ma", "{brace}", ""])),
        "created_at": tx.at,
        "created_by": "walk",
        "revoked_at": None,
    }


async def _home(walk: Walk, tx: Tx) -> None:
    """The tenant's own row, which nearly everything points at."""
    if not walk.rows.get("tenant") and not await tx.value("select exists (select from app.tenants)"):
        await walk.some(tx, "tenant")


def _revoked(_walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    return {"revoked_at": tx.at} if state == "REVOKED" else {}


async def _subject(walk: Walk, tx: Tx, line: Transition) -> Values:
    await _home(walk, tx)
    return {
        "id": tx.ids.new("sub"),
        "role": "mlro" if line.event == "create staff" else walk.chance.choice(("seller", "buyer", "lender")),
        "legal_name": walk.words() + " Ltd",
        "company_number": None if line.event == "create staff" else f"{walk.number():08d}",
        "representative_name_sealed": walk.sealed(),
        "email_sealed": walk.sealed(),
        "email_index": walk.hexes(64),
        "suspension_reason": None,
        "frozen_from": None,
        "created_at": tx.at,
        "last_kyc_run_at": None,
        "last_screening_at": tx.at if walk.chance.random() < 0.5 else None,
        "cleared_at": tx.at,
    }


def _subject_in(_walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    person = ("representative_name_sealed", "email_sealed", "email_index")
    return {
        "suspension_reason": "KYC_EXPIRED" if state == "SUSPENDED" else None,
        "frozen_from": row["state"] if state == "FROZEN" else None,
        "last_kyc_run_at": tx.at,
        **(dict.fromkeys(person) if state == "ERASED" else {}),
    }


async def _session(walk: Walk, tx: Tx, _line: Transition) -> Values:
    return {
        "id": tx.ids.new("ses"),
        "subject_id": (await walk.some(tx, "subject"))["id"],
        "aal": walk.chance.choice((1, 2)),
        "created_at": tx.at,
        "expires_at": tx.at + timedelta(minutes=15),
        "revoked_at": None,
    }


async def _magic_link(walk: Walk, tx: Tx, _line: Transition) -> Values:
    return {
        "id": tx.ids.new("mlk"),
        "token_sha256": walk.hexes(64),
        "invoice_reference": f"FXI-{walk.code(7)}",
        "subject_id": (await walk.some(tx, "subject"))["id"],
        "issued_at": tx.at,
        "expires_at": tx.at + timedelta(days=7),
    }


async def _case(walk: Walk, tx: Tx, _line: Transition) -> Values:
    nothing = ("assigned_to", "decided_at", "decided_by", "decision", "rationale_sealed", "rationale_hash")
    known = walk.chance.random() < 0.5
    return {
        "id": tx.ids.new("cas"),
        "subject_id": (await walk.some(tx, "subject"))["id"] if known else None,
        "resource": tx.ids.new("any"),
        "reason": "GATE_REFER",
        "opened_at": tx.at,
        "declines_subject": known,
        **dict.fromkeys(nothing),
    }


def _case_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    if not state.startswith("DECIDED_"):
        return {}
    return {
        "decided_at": tx.at,
        "decided_by": "sub_mlro",
        "decision": state.removeprefix("DECIDED_"),
        "rationale_sealed": walk.sealed(),
        "rationale_hash": walk.hexes(64),
    }


async def _alert(walk: Walk, tx: Tx, _line: Transition) -> Values:
    nothing = ("acknowledged_at", "acknowledged_by", "closed_at", "closed_by", "finding")
    return {
        "id": tx.ids.new("alt"),
        "cause": "CHAIN_STALLED",
        "resource": tx.ids.new("any"),
        "severity": walk.chance.choice(("NOTICE", "WARNING", "CRITICAL")),
        "raised_at": tx.at,
        "last_seen_at": tx.at,
        "occurrences": 1,
        **dict.fromkeys(nothing),
    }


def _alert_in(walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    match state:
        case "ACKED":
            return {"acknowledged_at": tx.at, "acknowledged_by": "sub_mlro", "occurrences": row["occurrences"] + 1}
        case "AUTO_CLEARED":
            return {"closed_at": tx.at, "closed_by": "system:walk"}
        case "CLOSED":
            finding = walk.chance.choice(("TRUE_ALARM", "FALSE_ALARM"))
            return {"closed_at": tx.at, "closed_by": "sub_mlro", "finding": finding}
        case _:
            return {}


async def _file(walk: Walk, tx: Tx, _line: Transition) -> Values:
    nothing = ("submitted_at", "mlro_decided_at", "mlro_decided_by", "rationale_hash")
    return {
        "id": tx.ids.new("onb"),
        "subject_id": (await walk.some(tx, "subject", new=True))["id"],
        "form_version": "1",
        "company_name": walk.words(),
        "company_number": f"{walk.number():08d}",
        "opened_at": tx.at,
        **dict.fromkeys(nothing),
    }


def _file_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    if state == "SUBMITTED":
        return {"submitted_at": tx.at}
    if state.startswith("DECIDED"):
        return {"mlro_decided_at": tx.at, "mlro_decided_by": "sub_mlro", "rationale_hash": walk.hexes(64)}
    return {}


async def _gate_run(walk: Walk, tx: Tx, _line: Transition) -> Values:
    file = await walk.some(tx, "onboarding_file", new=True)
    nothing = ("provider_ref", "verdict", "raw_payload_ref", "requested_at", "delay_alerted_at", "finished_at")
    return {
        "id": tx.ids.new("gat"),
        "file_id": file["id"],
        "subject_id": file["subject_id"],
        "gate": walk.chance.choice((1, 2, 3, 4)),
        "attempt": 1,
        "provider": walk.chance.choice(("sumsub", "complyadvantage")),
        "started_at": tx.at,
        **dict.fromkeys(nothing),
    }


def _gate_run_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    if state in ("CLEAR", "REFER", "FAIL"):
        return {"verdict": state, "finished_at": tx.at, "raw_payload_ref": f"blob:{walk.hexes(16)}"}
    return {"requested_at": tx.at}


async def _invoice(walk: Walk, tx: Tx, _line: Transition) -> Values:
    number = walk.number()
    return {
        "reference": f"FXI-{walk.code(7)}",
        "originator_id": (await walk.some(tx, "subject", new=not walk.rows.get("invoice")))["id"],
        "obligor_id": (await walk.some(tx, "subject", new=True))["id"],
        "invoice_number": f"№ {number}",
        "invoice_number_normalised": f"N{number}",
        "face_value_pence": FACE_PENCE,
        "collected_pence": 0,
        "currency": "GBP",
        "issue_date": tx.at.date(),
        "tenor_days": 30,
        "maturity_date": tx.at.date() + timedelta(days=30),
        "asking_discount_bps": 200,
        "token_reference": None,
        "document_sha256": walk.hexes(64),
        "created_at": tx.at,
    }


def _invoice_in(walk: Walk, _tx: Tx, state: str, row: Values) -> Values:
    match state:
        case "TOKENISED":
            return {"token_reference": row["token_reference"] or f"FXR-INV-{walk.code(7)}"}
        case "PART_PAID":
            return {"collected_pence": row["collected_pence"] + 1}
        case "PAID":
            return {"collected_pence": row["face_value_pence"]}
        case _:
            return {}


async def _token(walk: Walk, tx: Tx, _line: Transition) -> Values:
    paper = await walk.some(tx, "invoice", new=True)
    nothing = ("contract_address", "holder_subject_id", "holder_wallet", "minted_at", "burned_at", "burn_tx")
    return {
        "reference": f"FXR-INV-{walk.code(7)}",
        "invoice_reference": paper["reference"],
        "obligor_id": paper["obligor_id"],
        "token_id_hex": f"0x{walk.hexes(64)}",
        "face_pence": paper["face_value_pence"],
        "due_date": paper["maturity_date"],
        "document_sha256": paper["document_sha256"],
        "requested_at": tx.at,
        **dict.fromkeys(nothing),
    }


def _token_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    match state:
        case "MINT_SUBMITTED":
            return {"contract_address": f"0x{walk.hexes(40)}"}
        case "MINTED":
            return {"minted_at": tx.at, "holder_wallet": f"0x{walk.hexes(40)}"}
        case "HELD":
            holder = walk.chance.choice(walk.rows["wallet"]).row
            return {"holder_subject_id": holder["subject_id"], "holder_wallet": holder["address"]}
        case "BURNED":
            return {"burned_at": tx.at, "burn_tx": f"0x{walk.hexes(64)}"}
        case _:
            return {}


async def _token_with_wallet(walk: Walk, tx: Tx, line: Transition) -> Values:
    await walk.some(tx, "wallet")
    return await _token(walk, tx, line)


async def _wallet(walk: Walk, tx: Tx, _line: Transition) -> Values:
    return _wallet_of((await walk.some(tx, "subject", new=True))["id"], walk, tx)


def _wallet_of(subject_id: str, walk: Walk, tx: Tx) -> Values:
    return {
        "id": tx.ids.new("wal"),
        "subject_id": subject_id,
        "address": f"0x{walk.hexes(40)}",
        "key_name": f"custody/{subject_id}",
        "claims": 0,
        "claims_expire_at": None,
        "checked_at": None,
        "created_at": tx.at,
        "registered_at": None,
        "flagged_at": None,
    }


def _wallet_in(walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    if state == "REGISTERED":
        return {
            "claims": walk.chance.randint(1, 31),
            "checked_at": row["created_at"],
            "claims_expire_at": row["created_at"] + timedelta(days=walk.chance.randint(1, 365)),
            "registered_at": row["registered_at"] or tx.at,
        }
    return {"claims": 0}


async def _recovery(walk: Walk, tx: Tx, _line: Transition) -> Values:
    """With a wallet that is lost already and the next one beside it: the way there is the wallet's own machine's."""
    [machine] = [machine for machine in catalogue.MACHINES if machine.name == "wallet"]
    lost = await walk.some(tx, "wallet", new=True)
    made = walk.rows["wallet"][-1]
    for state, event in (("CREATED", "issue"), ("REGISTERED", "lose")):
        await walk.move(tx, machine, machine.next(state, event), made)
    new = {"tenant_id": walk.tenant_id, **_wallet_of(lost["subject_id"], walk, tx), "state": "CREATED"}
    await walk.record(tx, machine.next(NOTHING, "create"), audit.insert("wallets", new), new["id"])
    return {
        "id": tx.ids.new("rec"),
        "subject_id": lost["subject_id"],
        "lost_wallet_id": lost["id"],
        "new_wallet_id": None,
        "case_id": (await walk.some(tx, "review_case", new=True))["id"],
        "reason": "The phone with the wallet fell into the river.",
        "requested_at": tx.at,
        "requested_by": "sub_officer",
        "decided_at": None,
        "decided_by": None,
        "completed_at": None,
        NEXT_WALLET: new["id"],
    }


def _recovery_in(_walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    match state:
        case "REQUESTED":
            return {}
        case "APPROVED" | "DECLINED":
            return {"decided_at": tx.at, "decided_by": "sub_mlro"}
        case "COMPLETED":
            return {"completed_at": tx.at}
        case _:
            return {"new_wallet_id": row[NEXT_WALLET]}


async def _chain_tx(walk: Walk, tx: Tx, line: Transition) -> Values:
    kind = line.event.removeprefix("promise ")
    of_wallet, of_token = kind in ("identity", "flag", "recovery", "removal"), kind in ("mint", "transfer", "burn")
    target = await walk.some(tx, "wallet" if of_wallet else "token", new=True) if of_wallet or of_token else {}
    business_key = f"{kind}:{walk.number()}"
    nothing = ("sender", "nonce", "tx_hash", "raw", "block_number", "revert_reason", "submitted_at", "confirmed_at")
    return {
        "id": tx.ids.new("ctx"),
        "business_key": business_key,
        "kind": kind,
        "token_reference": target["reference"] if of_token else None,
        "wallet_id": target["id"] if of_wallet else None,
        "resource": business_key,
        "arguments": {"amount": 2**53 - 1, "to": f"0x{walk.hexes(40)}", "nested": [[], {}, "é"], "z": None},
        "promised_at": tx.at,
        **dict.fromkeys(nothing),
    }


async def _chain_tx_in(walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    """A nonce is given out with its promise, and kept until it is reserved anew."""
    if state == "PROMISED":
        return {}
    signed = {"tx_hash": f"0x{walk.hexes(64)}", "raw": walk.chance.randbytes(40), "submitted_at": tx.at}
    unsigned = dict.fromkeys(signed)
    block = walk.chance.randint(0, 2**40)
    named = {"sender": row["sender"] or f"0x{walk.hexes(40)}", "nonce": row["nonce"]}
    if state == "RESERVED" or row["nonce"] is None:
        await walk.world.tell_mined(named["sender"], 0)
        named["nonce"] = await tx.value("select fx.next_nonce($1)", named["sender"])
    rest: Values = {"block_number": None, "revert_reason": None, "confirmed_at": None}
    match state:
        case "RESERVED":
            return named | unsigned | rest
        case "SIGNED":
            return named | signed | rest
        case "CONFIRMED":
            return named | signed | rest | {"block_number": block, "confirmed_at": tx.at}
        case _:  # REVERTED, SUPERSEDED
            return named | signed | rest | {"block_number": block, "revert_reason": walk.words()}


async def _listing(walk: Walk, tx: Tx, _line: Transition) -> Values:
    token = await walk.some(tx, "token", new=True)
    paper = next(made.row for made in walk.rows["invoice"] if made.row["reference"] == token["invoice_reference"])
    return {
        "id": tx.ids.new("lst"),
        "invoice_reference": paper["reference"],
        "token_reference": token["reference"],
        "originator_id": paper["originator_id"],
        "obligor_id": paper["obligor_id"],
        "face_pence": FACE_PENCE,
        "asking_discount_bps": 200,
        "maturity_date": paper["maturity_date"],
        "visible_to_lender_subject_ids": walk.chance.choice((None, [], [paper["obligor_id"], paper["originator_id"]])),
        "committed_by": None,
        "created_at": tx.at,
    }


def _listing_in(walk: Walk, _tx: Tx, state: str, _row: Values) -> Values:
    return {"committed_by": None if state == "OPEN" else walk.chance.choice(walk.rows["subject"]).row["id"]}


async def _disbursement(walk: Walk, tx: Tx, _line: Transition) -> Values:
    listing = await walk.some(tx, "listing", new=True)
    nothing = (
        "fps_ref", "payout_fps_ref", "refund_fps_ref", "chain_tx_hash", "end_reason", "paid_out_at", "recon_alerted_at",
        "seller_credit_acked_at",
    )  # fmt: skip
    return {
        "id": tx.ids.new("dis"),
        "listing_id": listing["id"],
        "invoice_reference": listing["invoice_reference"],
        "token_reference": listing["token_reference"],
        "lender_subject_id": (await walk.some(tx, "subject"))["id"],
        "seller_subject_id": listing["originator_id"],
        "face_pence": FACE_PENCE,
        "discount_bps": 200,
        "discount_pence": DISCOUNT_PENCE,
        "net_advance_pence": FACE_PENCE - DISCOUNT_PENCE,
        "committed_at": tx.at,
        **dict.fromkeys(nothing),
    }


def _disbursement_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    match state:
        case "FIAT_FINAL":
            return {"fps_ref": walk.code(8)}
        case "TOKEN_MOVED":
            return {"chain_tx_hash": f"0x{walk.hexes(64)}"}
        case "SELLER_PAYOUT_SENT":
            return {"paid_out_at": tx.at, "payout_fps_ref": walk.code(8)}
        case "REFUNDED":
            return {"refund_fps_ref": walk.code(8)}
        case "CLOSED":
            return {"seller_credit_acked_at": tx.at}
        case "CANCELLED" | "OPS_ESCALATED" | "RETURNED":
            return {"end_reason": walk.words()}
        case _:
            return {}


async def _instruction(walk: Walk, tx: Tx, line: Transition) -> Values:
    onward = line.event == "queue onward"
    about = await walk.some(tx, "collection" if onward else "disbursement")
    purpose = {"queue in": "disbursement_in", "queue refund": "refund", "queue onward": "onward"}.get(
        line.event, "payout"
    )
    number = walk.number()
    return {
        "end_to_end_id": f"E2E{number}",
        "leg": f"leg:{number}",
        "attempt": walk.chance.randint(1, 99),
        "purpose": purpose,
        "disbursement_id": None if onward else about["id"],
        "collection_id": about["id"] if onward else None,
        "invoice_reference": about["invoice_reference"] or (await walk.some(tx, "invoice"))["reference"],
        "subject_id": (await walk.some(tx, "subject"))["id"],
        "debtor_name": walk.words(),
        "debtor_sort_code": "040004",
        "debtor_account_number": "12345678",
        "creditor_name": walk.words(),
        "creditor_sort_code": "040005",
        "creditor_account_number": "87654321",
        "amount_pence": walk.chance.randint(1, 100_000_000),
        "reference": "FX",
        "bank_ref": None,
        "reason_code": None,
        "queued_at": tx.at,
        "sent_at": None,
        "concluded_at": None,
    }


def _instruction_in(walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    match state:
        case "SENT":
            return {"sent_at": tx.at}
        case "SETTLED":
            return {"bank_ref": walk.code(8), "concluded_at": tx.at}
        case "REJECTED" | "RETURNED":
            return {"reason_code": "AC04", "concluded_at": row["concluded_at"] or tx.at}
        case _:
            return {}


async def _collection(walk: Walk, tx: Tx, line: Transition) -> Values:
    matched = line.target == "MATCHED"
    return {
        "id": tx.ids.new("col"),
        "bank_transaction_id": f"bank-{walk.number()}",
        "invoice_reference": (await walk.some(tx, "invoice"))["reference"] if matched else None,
        "narration_match": "FXI" if matched else None,
        "match_method": "EXACT" if matched else None,
        "amount_pence": walk.chance.randint(1, 2**53 - 1),
        "allocated_pence": 0,
        "refund_due_pence": 0,
        "received_at": tx.at,
        "onward_payments": [],
    }


def _collection_in(_walk: Walk, _tx: Tx, state: str, row: Values) -> Values:
    match state:
        case "DISTRIBUTING":
            onward = [{"amount_pence": row["amount_pence"], "to": "sub_x"}]
            return {"allocated_pence": row["amount_pence"], "onward_payments": onward}
        case "REFUND_DUE":
            return {"refund_due_pence": row["amount_pence"]}
        case _:
            return {}


async def _line_doubt(walk: Walk, tx: Tx, line: Transition) -> Values:
    """With the line that it is about."""
    await _home(walk, tx)
    seen = {
        "tenant_id": walk.tenant_id,
        "id": tx.ids.new("rec"),
        "account": "04000412345678",
        "transaction_id": f"line-{walk.number()}",
        "amount_pence": 100,
        "booked_at": tx.at,
        "kind": "doubt",
        "matched_to": f"walk-{walk.number()}",
        "method": "AIS",
        "reconciled_at": tx.at,
        "repeat_of": None,
    }
    await walk.record(tx, line, audit.insert("reconciliations", seen), seen["id"])
    return {
        "line_id": seen["id"],
        "may_be": [tx.ids.new("rec")],
        "opened_at": tx.at,
        "decided_at": None,
        "decided_by": None,
    }


def _line_doubt_in(_walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    return {} if state == "OPEN" else {"decided_at": tx.at, "decided_by": "sub_mlro"}


async def _balance_difference(walk: Walk, tx: Tx, _line: Transition) -> Values:
    await _home(walk, tx)
    return {
        "id": tx.ids.new("dif"),
        "account": f"{walk.number():014d}",
        "bank_pence": walk.chance.randint(-(2**53) + 1, 0),
        "books_pence": walk.chance.randint(1, 2**53 - 1),
        "opened_at": tx.at,
        "closed_at": None,
    }


def _balance_difference_in(_walk: Walk, tx: Tx, state: str, row: Values) -> Values:
    return {} if state == "OPEN" else {"closed_at": tx.at, "bank_pence": row["books_pence"]}


async def _email(walk: Walk, tx: Tx, _line: Transition) -> Values:
    return {
        "id": tx.ids.new("eml"),
        "template": "login_code",
        "subject_id": (await walk.some(tx, "subject"))["id"],
        "to_sealed": walk.sealed(),
        "resource": "walk",
        "business_key": f"mail:{walk.number()}",
        "provider_ref": None,
        "queued_at": tx.at,
        "sent_at": None,
        "failure": None,
        "failed_at": None,
    }


def _email_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    if state in ("FAILED", "EXPIRED"):
        return {"failed_at": tx.at, "failure": "MAIL_RECIPIENT_REFUSED"}
    return {"sent_at": tx.at, "provider_ref": walk.code(8)} if state == "SENT" else {}


async def _admin_session(walk: Walk, tx: Tx, _line: Transition) -> Values:
    nothing = ("approved_by", "approved_at", "opened_at", "expires_at", "closed_at")
    return {
        "id": tx.ids.new("ads"),
        "purpose": walk.chance.choice(("ACT", "BYPASS")),
        "on_behalf_of": (await walk.some(tx, "subject"))["id"],
        "reason": walk.words() + " and more than twenty characters",
        "requested_by": walk.administrators[0],
        "requested_at": tx.at,
        **dict.fromkeys(nothing),
    }


def _admin_session_in(walk: Walk, tx: Tx, state: str, _row: Values) -> Values:
    match state:
        case "APPROVED":
            return {"approved_by": walk.administrators[1], "approved_at": tx.at}
        case "OPEN":
            return {"opened_at": tx.at, "expires_at": tx.at + timedelta(minutes=15)}
        case "CLOSED":
            return {"closed_at": tx.at}
        case _:
            return {}


_ID = ("tenant_id", "id")
_REFERENCE = ("tenant_id", "reference")
KINDS: dict[str, Kind] = {
    "tenant": Kind("tenants", ("tenant_id",), _tenant),
    "api key": Kind("api_keys", _ID, _api_key, _revoked),
    "subject": Kind("subjects", _ID, _subject, _subject_in),
    "admin session": Kind("admin_sessions", _ID, _admin_session, _admin_session_in),
    "session": Kind("sessions", _ID, _session, _revoked),
    "magic link": Kind("magic_link_tokens", _ID, _magic_link),
    "review_case": Kind("review_queue", _ID, _case, _case_in),
    "alert": Kind("alerts", _ID, _alert, _alert_in),
    "onboarding_file": Kind("onboarding_files", _ID, _file, _file_in),
    "gate_run": Kind("gate_runs", _ID, _gate_run, _gate_run_in),
    "invoice": Kind("invoices", _REFERENCE, _invoice, _invoice_in),
    "token": Kind("tokens", _REFERENCE, _token_with_wallet, _token_in),
    "wallet": Kind("wallets", _ID, _wallet, _wallet_in),
    "wallet recovery": Kind("wallet_recoveries", _ID, _recovery, _recovery_in),
    "chain tx": Kind("chain_tx", _ID, _chain_tx, _chain_tx_in),
    "listing": Kind("primary_listings", _ID, _listing, _listing_in),
    "disbursement": Kind("disbursements", _ID, _disbursement, _disbursement_in),
    "payment_instruction": Kind("payment_instructions", ("tenant_id", "end_to_end_id"), _instruction, _instruction_in),
    "collection": Kind("collections", _ID, _collection, _collection_in),
    "line_doubt": Kind("line_doubts", ("tenant_id", "line_id"), _line_doubt, _line_doubt_in),
    "balance_difference": Kind("balance_differences", _ID, _balance_difference, _balance_difference_in),
    "email": Kind("email_sends", _ID, _email, _email_in),
}
"""By machine. A new machine needs a line here, or the walk says so."""
