"""Personal data at rest: ciphertext under a key per person, beside a salted commitment that survives the key (AD-14).

Crypto-shredding: whoever erases a person destroys one key. What was written, hashed and anchored stays as it is, and a
field can still be proved by whoever kept its salt and value. A whole tenant is closed by destroying one key in the
vault, which wraps all of its data keys: that holds for every backup, too. Limits, told plainly: one person's wrapped
key lives on in backups of the database for as long as these are kept, any key in another process's memory for
:data:`KEY_LIFE_SECONDS`, and a ciphertext shows its value's length.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fintokenx.kernel.db import Database, Tx
from fintokenx.kernel.errors import Refused
from fintokenx.kernel.ids import Entropy
from fintokenx.kernel.vault import Vault, WrappingKeyDestroyed

KEY_LIFE_SECONDS: Final = 30
"""How long a clear key may stay in memory: the longest that another process can still read what was shredded."""
KEYS_IN_MEMORY_MAX: Final = 4096
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SEALED: Final = re.compile(r"sealed:v1:([0-9a-f]{64}):([A-Za-z0-9_-]+)")
_NAME: Final = re.compile(r"[^|\x00]{1,200}")


class Shredded(Refused):
    """This data was erased."""

    code = "PERSONAL_DATA_SHREDDED"
    status = 410


class SealBroken(Exception):
    """The sealed text was changed, or belongs to another tenant, subject or field."""


class Disclosure(NamedTuple):
    """What proves a field to somebody who holds only its commitment."""

    salt: bytes
    """32 bytes."""
    value: str


class KeyMemory:
    """A bounded, brief memory of clear keys. ``seconds`` tells machine time, not business time."""

    def __init__(self, *, keys_max: int, life_seconds: float, seconds: Callable[[], float] = time.monotonic) -> None:
        self._keys_max = keys_max
        self._life_seconds = life_seconds
        self._seconds = seconds
        self._keys: dict[tuple[str, ...], tuple[float, bytes]] = {}
        self._forgotten = 0

    def get(self, *name: str) -> bytes | None:
        """The key, unless it was never here or its time is over."""
        found = self._keys.get(name)
        if found is None:
            return None
        until, key = found
        if self._seconds() >= until:
            self._keys.pop(name, None)
            return None
        return key

    def moment(self) -> int:
        """To be taken before a key is looked up and handed to :meth:`keep`."""
        return self._forgotten

    def keep(self, *name: str, key: bytes, moment: int) -> None:
        """Remember the key, unless one was forgotten since ``moment``: this may be the very one."""
        if moment != self._forgotten:
            return
        self._keys.pop(name, None)
        self._keys[name] = (self._seconds() + self._life_seconds, key)
        while len(self._keys) > self._keys_max:
            self._keys.pop(next(iter(self._keys)))

    def forget(self, *name: str) -> None:
        """Drop the key now, and refuse those that are being looked up."""
        self._forgotten += 1
        self._keys.pop(name, None)


def commitment(field: str, salt: bytes, value: str) -> str:
    """Hex SHA-256(0x02 ‖ salt ‖ field ‖ 0x00 ‖ value): what a verifier recomputes from a :class:`Disclosure`.

    The first byte keeps it apart from the leaves (0x00) and nodes (0x01) of the record's tree.
    """
    return hashlib.sha256(b"\x02" + salt + field.encode() + b"\x00" + value.encode()).hexdigest()


def commitment_of(sealed: str) -> str:
    """The commitment in a sealed text; needs no key. :raises SealBroken: not a sealed text"""
    return _parts(sealed)[0]


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """How a column ``…_sealed`` is sealed: the name of the field, and where its row says whose key it is under.

    ``owner`` lists columns: the first that is not null.
    """

    field: str
    owner: tuple[str, ...]
    is_secret: bool = False
    """A credential, not personal data: it is never disclosed to anybody."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """A table of wrapped data keys; ``column`` names a key within its tenant (migrations 0003, 0053)."""

    name: str
    column: str
    shared_wrapping_key: str
    """The vault's key that wrapped those of all tenants before each had one of its own."""

    def context(self, wrapped_by: str, tenant_id: str, name: str) -> bytes:
        """What a wrapped key is bound to."""
        place = f"{tenant_id}|{name}"
        return (place if wrapped_by == self.shared_wrapping_key else f"{self.name}|{place}").encode()


SUBJECT_KEYS: Final = KeyTable("ops.subject_keys", "subject_id", "subjects/kek")


def wrapping_key_of(tenant_id: str) -> str:
    """The vault's key under which all data keys of a tenant are wrapped."""
    return f"tenant/{tenant_id}/wrap"


class WrappedKeys:
    """256-bit data keys that are made once, wrapped by the vault, kept in a table and destroyed for ever.

    Methods open short transactions of their own and ask the vault outside of them. ``seconds`` tells machine time.
    """

    def __init__(
        self,
        table: KeyTable,
        database: Database,
        vault: Vault,
        entropy: Entropy,
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._database = database
        self._vault = vault
        self._entropy = entropy
        self._memory = KeyMemory(keys_max=KEYS_IN_MEMORY_MAX, life_seconds=KEY_LIFE_SECONDS, seconds=seconds)
        database.on_keys_destroyed(self._forget)

    async def find(self, tenant_id: str, name: str) -> bytes | None:
        """The clear key, None when there never was one.

        :raises Shredded: it was destroyed, or the tenant's wrapping key was
        :raises ValueError: the stored bytes do not unwrap for this tenant and name
        """
        if key := self._memory.get(tenant_id, name):
            return key
        moment = self._memory.moment()
        async with self._database.transaction(tenant_id) as tx:
            row = await tx.row(
                f"select wrapped_key, wrapped_by from {self._table.name}"
                f" where tenant_id = $1 and {self._table.column} = $2",
                tenant_id,
                name,
            )
        if row is None:
            return None
        if row["wrapped_key"] is None:
            raise Shredded()
        context = self._table.context(row["wrapped_by"], tenant_id, name)
        try:
            key = await self._vault.unwrap(row["wrapped_by"], row["wrapped_key"], context=context)
        except WrappingKeyDestroyed as fault:
            raise Shredded() from fault
        self._memory.keep(tenant_id, name, key=key, moment=moment)
        return key

    async def ensure(self, tenant_id: str, name: str) -> bytes:
        """The clear key; made now if need be, or taken from whoever made it at the same moment. Raises as find."""
        if key := await self.find(tenant_id, name):
            return key
        wrapped_by = wrapping_key_of(tenant_id)
        context = self._table.context(wrapped_by, tenant_id, name)
        try:
            wrapped = await self._vault.wrap(wrapped_by, self._entropy(32), context=context)
        except WrappingKeyDestroyed as fault:
            raise Shredded() from fault
        async with self._database.transaction(tenant_id) as tx:
            await tx.write(
                f"""insert into {self._table.name}
                      (tenant_id, {self._table.column}, wrapped_key, wrapped_by, created_at)
                    values ($1, $2, $3, $4, $5) on conflict do nothing""",
                tenant_id,
                name,
                wrapped,
                wrapped_by,
                tx.at,
            )
        key = await self.find(tenant_id, name)
        if key is None:
            raise LookupError("a key that was made is not there")
        return key

    async def shred(self, tenant_id: str, name: str) -> None:
        """Destroy the key; harmless when done twice. What never had a key gets none any more."""
        async with self._database.transaction(tenant_id) as tx:
            await _destroy(tx, self._table, name)

    def _forget(self, table: str, tenant_id: str, name: str) -> None:
        if table == self._table.name:
            self._memory.forget(tenant_id, name)


async def _destroy(tx: Tx, table: KeyTable, name: str) -> None:
    tx.destroyed_keys.append((table.name, tx.tenant_id, name))
    await tx.write(
        f"""insert into {table.name} as k (tenant_id, {table.column}, created_at, shredded_at)
            values ($1, $2, $3, $3)
            on conflict (tenant_id, {table.column}) do update
              set wrapped_key = null, shredded_at = excluded.shredded_at where k.shredded_at is null""",
        tx.tenant_id,
        name,
        tx.at,
    )


async def shred(tx: Tx, subject_id: str) -> None:
    """Destroy a person's key if and only if ``tx`` commits, so that the entry that says so and the deed are one.

    Every memory of this process forgets it then; other processes may read with it for :data:`KEY_LIFE_SECONDS`.
    Harmless when done twice, and when nothing was ever sealed for them.
    """
    _bound_to(subject_id, "-")
    await _destroy(tx, SUBJECT_KEYS, subject_id)


async def shred_tenant(database: Database, vault: Vault, tables: Sequence[KeyTable], tenant_id: str) -> None:
    """Close all that a tenant has stored, for ever (PA-10): its wrapping key in the vault, then its wrapped keys.

    After the first step nothing opens any more, from a backup of the database neither: the second only tidies up.
    Repeating it is harmless, and finishes what was interrupted. Other processes forget after :data:`KEY_LIFE_SECONDS`.
    """
    await vault.destroy_wrapping_key(wrapping_key_of(tenant_id))
    async with database.transaction(tenant_id) as tx:
        for table in tables:
            rows = await tx.rows(
                f"""update {table.name} set wrapped_key = null, shredded_at = $2
                     where tenant_id = $1 and shredded_at is null returning {table.column} as name""",
                tenant_id,
                tx.at,
            )
            tx.wrote = True
            tx.destroyed_keys += [(table.name, tenant_id, row["name"]) for row in rows]


class Sealer:
    """Seals fields of people. Every method but :meth:`blind_index` may open a short transaction of its own, so call
    them before yours. All raise ``VaultUnavailable`` when a key is needed and the vault does not answer.
    """

    def __init__(
        self, database: Database, vault: Vault, entropy: Entropy, *, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = WrappedKeys(SUBJECT_KEYS, database, vault, entropy, seconds=seconds)
        self._vault = vault
        self._entropy = entropy

    async def seal(self, tenant_id: str, subject_id: str, field: str, value: str) -> str:
        """``sealed:v1:<commitment hex>:<base64url of nonce ‖ ciphertext>``; another text every time.

        :raises Shredded: this person was erased; nothing is sealed for them any more
        :raises ValueError: a subject or field that is empty, longer than 200 characters or holds ``|`` or NUL
        """
        bound_to = _bound_to(subject_id, field)
        try:
            key = await self._keys.ensure(tenant_id, subject_id)
        except ValueError as fault:
            raise SealBroken("the subject's key does not unwrap") from fault
        salt, nonce = self._entropy(_SALT_BYTES), self._entropy(_NONCE_BYTES)
        box = nonce + AESGCM(key).encrypt(nonce, salt + value.encode(), bound_to)
        return f"sealed:v1:{commitment(field, salt, value)}:{_to_text(box)}"

    async def open(self, tenant_id: str, subject_id: str, field: str, sealed: str) -> str:
        """The value. :raises Shredded: erased. :raises SealBroken: changed, or of another tenant, subject or field"""
        return (await self.disclose(tenant_id, subject_id, field, sealed)).value

    async def disclose(self, tenant_id: str, subject_id: str, field: str, sealed: str) -> Disclosure:
        """The salt and the value, which prove the commitment; raises as :meth:`open`."""
        bound_to = _bound_to(subject_id, field)
        committed, box = _parts(sealed)
        try:
            key = await self._keys.find(tenant_id, subject_id)
        except ValueError as fault:
            raise SealBroken("the subject's key does not unwrap") from fault
        if key is None:
            raise SealBroken("nothing was ever sealed for this subject")
        try:
            clear = AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], bound_to)
        except InvalidTag as fault:
            raise SealBroken("it does not decrypt") from fault
        opened = Disclosure(clear[:_SALT_BYTES], clear[_SALT_BYTES:].decode())
        if not hmac.compare_digest(commitment(field, *opened), committed):
            raise SealBroken("the commitment is not that of the value")
        return opened

    async def shred(self, tenant_id: str, subject_id: str) -> None:
        """Destroy the person's key, for ever; harmless when done twice, and when nothing was ever sealed for them."""
        _bound_to(subject_id, "-")
        await self._keys.shred(tenant_id, subject_id)

    async def blind_index(self, name: str, value: str) -> str:
        """Keyed hash (hex) of the trimmed, case-folded value, for finding a row by what it must not show.

        The same value gives the same text under one ``name``, in every tenant.
        """
        digest = await self._vault.hmac_sha256(f"index/{name}", value.strip().casefold().encode())
        return digest.hex()


def _bound_to(subject_id: str, field: str) -> bytes:
    if not _NAME.fullmatch(subject_id) or not _NAME.fullmatch(field):
        raise ValueError("not a subject or field name")
    return f"{subject_id}|{field}".encode()


def _to_text(box: bytes) -> str:
    return base64.urlsafe_b64encode(box).rstrip(b"=").decode()


def _parts(sealed: str) -> tuple[str, bytes]:
    found = _SEALED.fullmatch(sealed)
    if not found:
        raise SealBroken("not a sealed text")
    try:
        box = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
    except binascii.Error as fault:
        raise SealBroken("not a sealed text") from fault
    # The decoder ignores spare bits at the end; one box has one spelling.
    if _to_text(box) != found[2] or len(box) < _NONCE_BYTES + _SALT_BYTES + _TAG_BYTES:
        raise SealBroken("not a sealed text")
    return found[1], box
