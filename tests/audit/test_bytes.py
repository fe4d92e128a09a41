"""The bytes of an entry: Python, SQL and the frozen vectors say the same (AD-05). A vector that has once been released
is never changed: entries of that form are on record."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fintokenx.audit.types import Entry, _text
from fintokenx.kernel.canonical import canonical_json
from fintokenx.kernel.clock import from_wire, to_wire
from tests.support import World

pytestmark = pytest.mark.anyio
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]

SQL = """select fx.entry_bytes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12, $13)"""


def entry_of(fields: dict[str, Any]) -> Entry:
    """A vector's fields as an entry; its hash is not part of its bytes."""
    return Entry(
        **{
            **fields,
            "timestamp": from_wire(fields["timestamp"]),
            "prev_hash": bytes.fromhex(fields["prev_hash"]),
            "diff": canonical_json(fields["diff"]).decode(),
            "hash": bytes(32),
        }
    )


def arguments(entry: Entry) -> tuple[Any, ...]:
    """For fx.entry_bytes."""
    return (
        entry.seq, entry.id, entry.timestamp, entry.action, entry.actor, entry.actor_role, entry.on_behalf_of,
        entry.tenant_id, entry.resource, entry.request_id, entry.diff, entry.prev_hash, entry.merkle_batch_id,
    )  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["title"] for vector in VECTORS])
def test_python_writes_the_frozen_bytes(vector: dict[str, Any]) -> None:
    entry = entry_of(vector["entry"])
    assert entry.canonical_bytes().decode() == vector["canonical"]
    assert entry.recomputed_hash().hex() == vector["hash"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["title"] for vector in VECTORS])
def test_the_frozen_bytes_are_rfc_8785_as_another_library_writes_it(vector: dict[str, Any]) -> None:
    """Not our code: the bytes parse, and the rfc8785 package writes them again."""
    assert rfc8785.dumps(json.loads(vector["canonical"])) == vector["canonical"].encode()
    assert json.loads(vector["canonical"]) == {**vector["entry"], "v": 1}
    assert hashlib.sha256(b"\x00" + vector["canonical"].encode()).hexdigest() == vector["hash"]


async def test_sql_writes_the_frozen_bytes(world: World) -> None:
    superuser = await world.connect("postgres")
    for vector in VECTORS:
        written = await superuser.fetchval(SQL, *arguments(entry_of(vector["entry"])))
        assert written.decode() == vector["canonical"], vector["title"]
    await superuser.close()


# Postgres text holds everything but U+0000 and lone surrogates.
words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
entries = st.builds(
    Entry,
    seq=st.integers(1, 2**53 - 1),
    id=words,
    timestamp=st.datetimes(timezones=st.just(from_wire("2026-01-01T00:00:00Z").tzinfo)).filter(lambda t: t.year > 1969),
    action=words,
    actor=words,
    actor_role=words,
    on_behalf_of=st.none() | words,
    tenant_id=words,
    resource=words,
    request_id=words,
    diff=st.dictionaries(words, values, max_size=3).map(lambda diff: canonical_json(diff).decode()),
    prev_hash=st.binary(min_size=32, max_size=32),
    hash=st.just(bytes(32)),
    merkle_batch_id=st.integers(1, 2**31),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(entries, min_size=1, max_size=5))
async def test_sql_and_python_agree_on_entries_that_nobody_thought_of(world: World, batch: list[Entry]) -> None:
    superuser = await world.connect("postgres")
    for entry in batch:
        assert await superuser.fetchval(SQL, *arguments(entry)) == entry.canonical_bytes()
    await superuser.close()


ESCAPED = "".join(map(chr, range(1, 0x20))) + '\x7f"\\/\u2028\u2029\u00e9\ufeff\ufffe\U0001f9fe\U0010ffff'


@pytest.mark.parametrize("text", [ESCAPED, *ESCAPED, "<script>&'", ""])
def test_text_is_escaped_as_another_library_does_it(text: str) -> None:
    """RFC 8785 §3.2.2.2: every control character, what else must be escaped, and nothing that need not be."""
    assert _text(text).encode() == rfc8785.dumps(text)


@settings(max_examples=1000, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_is_escaped_otherwise(text: str) -> None:
    assert _text(text).encode() == rfc8785.dumps(text)


def test_half_a_surrogate_pair_has_no_bytes() -> None:
    with pytest.raises(UnicodeEncodeError):
        replace(entry_of(VECTORS[0]["entry"]), actor="\ud800").canonical_bytes()


@given(at=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone.max])))
def test_an_instant_is_spelled_in_utc_with_six_decimals(at: datetime) -> None:
    assume(datetime(1, 1, 3, tzinfo=UTC) < at < datetime(9999, 12, 30, tzinfo=UTC))
    utc = at.astimezone(UTC)
    assert to_wire(at) == (
        f"{utc.year:04}-{utc.month:02}-{utc.day:02}T{utc.hour:02}:{utc.minute:02}:{utc.second:02}.{utc.microsecond:06}Z"
    )
