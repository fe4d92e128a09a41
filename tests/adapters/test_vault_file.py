"""The vault in a file: deterministic signatures, one atomic file, closed when damaged."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from fintokenx.adapters.vault import LocalVault
from fintokenx.adapters.vault.sealed_file import SealedFile
from fintokenx.kernel.vault import NotInVault, VaultUnavailable
from tests.adapters.vaults import CANARY, flipped

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


@pytest.fixture
def vault(folder: Path) -> LocalVault:
    return LocalVault(folder, os.urandom)


async def test_a_chain_signature_is_deterministic(vault: LocalVault) -> None:
    """RFC 6979: a weak random source cannot leak the key."""
    await vault.ensure_secp256k1("chain/minter")
    first = await vault.sign_secp256k1("chain/minter", b"\x07" * 32)
    assert await vault.sign_secp256k1("chain/minter", b"\x07" * 32) == first
    assert await vault.sign_secp256k1("chain/minter", b"\x08" * 32) != first


async def test_a_draw_that_is_no_chain_key_is_drawn_again(folder: Path) -> None:
    """Zero and the group order are not keys. The first 32-byte draw is that of the chain key."""
    draws = iter([b"\0" * 32, b"\xff" * 32])
    vault = LocalVault(folder, lambda size: next(draws, os.urandom(size)))
    assert len(await vault.ensure_secp256k1("chain/minter")) == 65
    assert next(draws, None) is None


_WRITER = """
import asyncio, sys
from tests.adapters.vaults import opened

async def main():
    vault = opened("file", sys.argv[1])
    for number in range(100_000):
        await vault.put_secret(f"n/{number}", "x" * 200)
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_reader_never_meets_a_half_written_file(folder: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        reader = SealedFile(folder, os.urandom)
        seen: set[int] = set()
        deadline = time.monotonic() + 30
        while len(seen) < 200:
            assert time.monotonic() < deadline
            secrets = await asyncio.to_thread(lambda: reader.read().secrets)
            assert set(secrets.values()) <= {"x" * 200}
            seen.add(len(secrets))
    finally:
        writer.kill()
        await writer.communicate()


async def test_there_are_three_files_in_a_closed_folder(vault: LocalVault, folder: Path) -> None:
    await vault.put_secret("sumsub/token", CANARY)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"lock", "master.key", "vault.sealed"}
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert CANARY.encode() not in path.read_bytes()
        assert b"sumsub" not in path.read_bytes()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_changed_byte_closes_the_vault(folder: Path) -> None:
    await LocalVault(folder, os.urandom).put_secret("name", "value")
    path = folder / "store" / "vault.sealed"
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(flipped(whole, position))
        damaged = LocalVault(folder, os.urandom)
        assert not await damaged.healthy()
        with pytest.raises(VaultUnavailable):
            await damaged.secret("name")
    path.write_bytes(whole)
    assert await LocalVault(folder, os.urandom).secret("name") == "value"


@pytest.mark.parametrize("lost", ["vault.sealed", "master.key"])
async def test_a_vault_that_lost_a_file_makes_no_new_keys(folder: Path, lost: str) -> None:
    await LocalVault(folder, os.urandom).ensure_ed25519("auth/jwt/1")
    (folder / "store" / lost).unlink()
    vault = LocalVault(folder, os.urandom)
    assert not await vault.healthy()
    with pytest.raises(VaultUnavailable):
        await vault.ensure_ed25519("auth/jwt/1")


async def test_a_master_key_that_others_may_read_is_not_used(folder: Path) -> None:
    await LocalVault(folder, os.urandom).put_secret("name", "value")
    (folder / "store" / "master.key").chmod(0o640)
    with pytest.raises(VaultUnavailable, match="0600"):
        await LocalVault(folder, os.urandom).secret("name")


async def test_a_traceback_with_local_variables_shows_no_secret(vault: LocalVault, folder: Path) -> None:
    await vault.put_secret("name", CANARY)
    contents = SealedFile(folder, os.urandom).read()
    assert contents.secrets["name"] == CANARY
    assert CANARY not in repr(contents)


async def test_an_entry_that_is_missing_is_named_with_what_to_run(vault: LocalVault) -> None:
    """In a sentence; those who look whether there is one still catch a KeyError (issue 9 A28)."""
    with pytest.raises(NotInVault, match=r"no entry 'bank/token'.*fintokenx vault") as missing:
        await vault.secret("bank/token")
    assert isinstance(missing.value, KeyError)
