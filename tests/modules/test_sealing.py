"""Sealed personal data: readable by its tenant until the person's key is shredded, provable for ever."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintokenx.adapters.vault import LocalVault
from fintokenx.kernel.sealing import (
    KEY_LIFE_SECONDS,
    KeyMemory,
    SealBroken,
    Sealer,
    Shredded,
    commitment,
    commitment_of,
    wrapping_key_of,
)
from fintokenx.kernel.vault import VaultUnavailable
from tests.support import World

pytestmark = pytest.mark.anyio
A, B = "tnt_alpha", "tnt_beta"
ANN, BOB = "sub_ann", "sub_bob"
CANARY = "ann.canary-4711@example.org"


class Seconds:
    """A hand-moved machine clock for the memory of keys."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Office:
    """A database, a vault and as many sealers on them as a test wants processes."""

    world: World
    folder: Path
    vault: LocalVault
    seconds: Seconds

    def sealer(self) -> Sealer:
        return Sealer(self.world.database, self.vault, os.urandom, seconds=self.seconds)

    async def key_rows(self, tenant_id: str) -> list[dict[str, object]]:
        async with self.world.database.transaction(tenant_id) as tx:
            return [dict(row) for row in await tx.rows("select * from ops.subject_keys order by subject_id")]


@pytest.fixture
def office(world: World, tmp_path: Path) -> Office:
    return Office(world, tmp_path, LocalVault(tmp_path / "vault", os.urandom), Seconds())


async def test_what_is_sealed_opens_in_another_process(office: Office) -> None:
    sealed = await office.sealer().seal(A, ANN, "email", CANARY)
    assert await office.sealer().open(A, ANN, "email", sealed) == CANARY


async def test_the_sealed_text_has_the_published_form(office: Office) -> None:
    """Recomputed by hand from a disclosure, as a stranger would."""
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    scheme, version, committed, text = sealed.split(":")
    assert (scheme, version) == ("sealed", "v1")
    assert len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) == 12 + 32 + len(CANARY) + 16
    salt, value = await sealer.disclose(A, ANN, "email", sealed)
    assert value == CANARY
    assert hashlib.sha256(b"\x02" + salt + b"email\x00" + CANARY.encode()).hexdigest() == committed
    assert commitment_of(sealed) == committed


async def test_the_same_value_is_another_text_and_commitment_each_time(office: Office) -> None:
    sealer = office.sealer()
    texts = [await sealer.seal(A, ANN, "email", CANARY) for _ in range(8)]
    assert len(set(texts)) == len({commitment_of(text) for text in texts}) == 8


@pytest.mark.parametrize(
    ("tenant_id", "subject_id", "field"), [(B, ANN, "email"), (A, BOB, "email"), (A, ANN, "phone")]
)
async def test_sealed_text_opens_only_where_it_belongs(
    office: Office, tenant_id: str, subject_id: str, field: str
) -> None:
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    with pytest.raises(SealBroken):
        await sealer.open(tenant_id, subject_id, field, sealed)
    await sealer.seal(tenant_id, subject_id, field, "theirs")
    with pytest.raises(SealBroken):
        await sealer.open(tenant_id, subject_id, field, sealed)


async def test_every_changed_character_is_noticed(office: Office) -> None:
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    changed = [
        sealed[:n] + other + sealed[n + 1 :] for n in range(len(sealed)) for other in "Ab0" if other != sealed[n]
    ]
    for damaged in [*changed, *(sealed[:n] for n in range(len(sealed))), sealed + "A", sealed + "=", sealed + "\n"]:
        with pytest.raises(SealBroken):
            await sealer.open(A, ANN, "email", damaged)


@pytest.mark.parametrize("value", ["a", "ab"])
async def test_one_box_has_one_spelling(office: Office, value: str) -> None:
    """Base 64 leaves spare bits in the last character; a decoder ignores them, we do not."""
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "initials", value)
    box = sealed.rsplit(":", 1)[1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = box[:-1] + alphabet[alphabet.index(box[-1]) ^ 1]
    padding = "=" * (-len(box) % 4)
    assert padding
    assert base64.urlsafe_b64decode(respelled + padding) == base64.urlsafe_b64decode(box + padding)
    with pytest.raises(SealBroken):
        await sealer.open(A, ANN, "initials", sealed.replace(box, respelled))


async def test_a_commitment_of_another_value_is_noticed(office: Office) -> None:
    sealer = office.sealer()
    one, two = [await sealer.seal(A, ANN, "email", CANARY) for _ in range(2)]
    with pytest.raises(SealBroken, match="commitment"):
        await sealer.open(A, ANN, "email", one.replace(commitment_of(one), commitment_of(two)))


async def test_a_commitment_binds_field_and_value_together(office: Office) -> None:
    salt = b"s" * 32
    assert commitment("ab", salt, "c") != commitment("a", salt, "bc")
    assert commitment("a", salt, "b") != commitment("a", b"t" * 32, "b")


async def test_shredding_leaves_the_commitment_and_nothing_else(office: Office) -> None:
    """AD-14: what was disclosed before can still be proved; the value can no longer be had."""
    sealer, elsewhere = office.sealer(), office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    of_bob = await sealer.seal(A, BOB, "email", "bob@example.org")
    salt, value = await sealer.disclose(A, ANN, "email", sealed)
    await sealer.shred(A, ANN)
    for each in (sealer, elsewhere):
        with pytest.raises(Shredded) as caught:
            await each.open(A, ANN, "email", sealed)
        assert (caught.value.code, caught.value.status) == ("PERSONAL_DATA_SHREDDED", 410)
    assert commitment("email", salt, value) == commitment_of(sealed)
    assert await elsewhere.open(A, BOB, "email", of_bob) == "bob@example.org"
    ann = (await office.key_rows(A))[0]
    assert (ann["subject_id"], ann["wrapped_key"], ann["shredded_at"]) == (ANN, None, office.world.clock.now())


async def test_nothing_is_sealed_for_the_erased(office: Office) -> None:
    sealer = office.sealer()
    await sealer.shred(A, ANN)
    await sealer.shred(A, ANN)
    with pytest.raises(Shredded):
        await sealer.seal(A, ANN, "email", CANARY)
    assert len(await office.key_rows(A)) == 1


async def test_shredding_twice_keeps_the_first_time(office: Office) -> None:
    sealer = office.sealer()
    await sealer.seal(A, ANN, "email", CANARY)
    await sealer.shred(A, ANN)
    first = (await office.key_rows(A))[0]["shredded_at"]
    office.world.clock.set(office.world.clock.now().replace(year=2027))
    await sealer.shred(A, ANN)
    assert (await office.key_rows(A))[0]["shredded_at"] == first


async def test_another_process_forgets_a_shredded_key_when_its_time_is_over(office: Office) -> None:
    sealer, elsewhere = office.sealer(), office.sealer()
    sealed = await elsewhere.seal(A, ANN, "email", CANARY)
    await sealer.shred(A, ANN)
    office.seconds.now += KEY_LIFE_SECONDS
    with pytest.raises(Shredded):
        await elsewhere.open(A, ANN, "email", sealed)


async def test_shredding_in_one_tenant_leaves_the_same_subject_in_another(office: Office) -> None:
    sealer = office.sealer()
    in_a, in_b = await sealer.seal(A, ANN, "email", CANARY), await sealer.seal(B, ANN, "email", CANARY)
    await sealer.shred(A, ANN)
    assert await office.sealer().open(B, ANN, "email", in_b) == CANARY
    with pytest.raises(Shredded):
        await sealer.open(A, ANN, "email", in_a)


async def test_processes_that_race_for_the_first_key_agree_on_one(office: Office) -> None:
    texts = await asyncio.gather(*(office.sealer().seal(A, ANN, "email", f"{n}") for n in range(6)))
    assert [await office.sealer().open(A, ANN, "email", text) for text in texts] == list("012345")
    assert len(await office.key_rows(A)) == 1


async def test_keys_lie_wrapped_in_their_tenants_rows_only(office: Office) -> None:
    await office.sealer().seal(A, ANN, "email", CANARY)
    (row,) = await office.key_rows(A)
    assert await office.key_rows(B) == []
    wrapped = row["wrapped_key"]
    assert isinstance(wrapped, bytes)
    assert row["wrapped_by"] == "tenant/tnt_alpha/wrap"
    name, place = wrapping_key_of(A), f"ops.subject_keys|{A}|{ANN}"
    assert len(await office.vault.unwrap(name, wrapped, context=place.encode())) == 32
    for context in (f"ops.tenant_keys|{A}|{ANN}", f"ops.subject_keys|{B}|{ANN}", f"ops.subject_keys|{A}|{BOB}"):
        with pytest.raises(ValueError):
            await office.vault.unwrap(name, wrapped, context=context.encode())


async def test_a_key_row_that_was_copied_from_another_subject_opens_nothing(office: Office) -> None:
    """Whoever can write to the database still cannot pass one person's key off as another's."""
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    await sealer.seal(A, BOB, "email", "bob@example.org")
    superuser = await office.world.connect("postgres")
    await superuser.execute("alter table ops.subject_keys disable trigger a_only_shred")
    await superuser.execute(
        "update ops.subject_keys k set wrapped_key = o.wrapped_key from ops.subject_keys o"
        " where k.subject_id = $1 and o.subject_id = $2",
        BOB,
        ANN,
    )
    await superuser.close()
    with pytest.raises(SealBroken):
        await office.sealer().open(A, BOB, "email", sealed)
    with pytest.raises(SealBroken):
        await office.sealer().seal(A, BOB, "email", "bob@example.org")


@pytest.mark.parametrize(
    "statement",
    [
        "update ops.subject_keys set wrapped_key = '\\x00' where subject_id = 'sub_ann'",
        "update ops.subject_keys set wrapped_key = '\\x00', shredded_at = null where subject_id = 'sub_bob'",
        "update ops.subject_keys set shredded_at = now() where subject_id = 'sub_bob'",
        "update ops.subject_keys set wrapped_key = '\\x00', wrapped_by = 'tenant/tnt_beta/wrap'",
        "update ops.subject_keys set wrapped_key = '\\x00', wrapped_by = 'tenant/tnt_alpha/wrap'",
        "update ops.subject_keys set tenant_id = 'tnt_beta'",
        "delete from ops.subject_keys",
        "truncate ops.subject_keys",
    ],
)
async def test_the_database_lets_a_key_only_be_destroyed_once(office: Office, statement: str) -> None:
    sealer = office.sealer()
    await sealer.seal(A, ANN, "email", CANARY)
    await sealer.shred(A, BOB)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with office.world.database.transaction(A) as tx:
            await tx.write(statement)


async def test_the_value_stands_in_no_file_and_no_row(office: Office) -> None:
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, "email", CANARY)
    await sealer.blind_index("email", CANARY)
    assert "canary" not in sealed
    assert "canary" not in repr(await office.key_rows(A))
    for path in office.folder.rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()


async def test_a_vault_that_is_down_stops_sealing_and_opening(office: Office) -> None:
    sealed = await office.sealer().seal(A, ANN, "email", CANARY)
    (office.folder / "vault" / "down").touch()
    with pytest.raises(VaultUnavailable):
        await office.sealer().open(A, ANN, "email", sealed)
    with pytest.raises(VaultUnavailable):
        await office.sealer().seal(A, BOB, "email", "bob@example.org")
    with pytest.raises(VaultUnavailable):
        await office.sealer().blind_index("email", CANARY)
    assert len(await office.key_rows(A)) == 1


async def test_a_person_can_be_erased_while_the_vault_is_down(office: Office) -> None:
    sealed = await office.sealer().seal(A, ANN, "email", CANARY)
    (office.folder / "vault" / "down").touch()
    await office.sealer().shred(A, ANN)
    (office.folder / "vault" / "down").unlink()
    with pytest.raises(Shredded):
        await office.sealer().open(A, ANN, "email", sealed)


async def test_a_blind_index_finds_the_value_however_it_was_typed(office: Office) -> None:
    sealer = office.sealer()
    found = await sealer.blind_index("email", " Ann@Example.ORG ")
    assert found == await office.sealer().blind_index("email", "ann@example.org")
    assert found == (await office.vault.hmac_sha256("index/email", b"ann@example.org")).hex()
    assert found != await sealer.blind_index("email", "ann@example.com")
    assert found != await sealer.blind_index("phone", "ann@example.org")


@pytest.mark.parametrize("name", ["", "a|b", "a\0b", "x" * 201])
async def test_a_name_that_could_be_read_two_ways_is_refused(office: Office, name: str) -> None:
    sealer = office.sealer()
    with pytest.raises(ValueError, match="not a subject or field"):
        await sealer.seal(A, ANN, name, "value")
    with pytest.raises(ValueError, match="not a subject or field"):
        await sealer.seal(A, name, "email", "value")
    with pytest.raises(ValueError, match="not a subject or field"):
        await sealer.shred(A, name)
    assert await office.key_rows(A) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    field=st.text(st.characters(exclude_characters="|\0", exclude_categories=["Cs"]), min_size=1, max_size=200),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)
async def test_any_text_round_trips_and_is_proved_by_its_disclosure(office: Office, field: str, value: str) -> None:
    sealer = office.sealer()
    sealed = await sealer.seal(A, ANN, field, value)
    assert await sealer.open(A, ANN, field, sealed) == value
    assert commitment(field, *await sealer.disclose(A, ANN, field, sealed)) == commitment_of(sealed)


def test_the_memory_of_keys_is_bounded_and_brief() -> None:
    seconds = Seconds()
    memory = KeyMemory(keys_max=2, life_seconds=10, seconds=seconds)
    for name in ("a", "b", "c"):
        memory.keep(name, key=name.encode(), moment=memory.moment())
    assert [memory.get(name) for name in ("a", "b", "c")] == [None, b"b", b"c"]
    seconds.now = 9.9
    assert memory.get("b") == b"b"
    seconds.now = 10
    assert memory.get("b") is None


def test_a_key_that_was_forgotten_while_it_was_looked_up_is_not_kept() -> None:
    memory = KeyMemory(keys_max=2, life_seconds=10, seconds=Seconds())
    moment = memory.moment()
    memory.forget("ann")
    memory.keep("ann", key=b"k", moment=moment)
    assert memory.get("ann") is None
