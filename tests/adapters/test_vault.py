"""What every vault must do: keys stay in it, survive restarts, races and kills; the suite runs against each kind."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Awaitable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account import Account
from eth_account._utils.signing import to_eth_v
from eth_account.messages import SignableMessage, encode_defunct
from eth_keys.datatypes import PublicKey, Signature
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintokenx.kernel.vault import Vault, VaultUnavailable, WrappingKeyDestroyed
from tests.adapters.vaults import CANARY, ENSURES, KINDS, House, flipped, house_of
from tests.support.key_files import files_of, key_files

pytestmark = pytest.mark.anyio
HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2


@pytest.fixture(params=KINDS)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> House:
    """A folder with a vault of each kind in turn."""
    return house_of(request.param, tmp_path / "vault")


@pytest.fixture
def vault(house: House) -> Vault:
    """The vault of the house."""
    return house.open()


async def test_an_ed25519_signature_verifies_under_the_public_key(vault: Vault) -> None:
    public = await vault.ensure_ed25519("auth/jwt/1")
    signature = await vault.sign_ed25519("auth/jwt/1", b"message")
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"message")
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public).verify(signature, b"another message")


async def test_a_chain_signature_is_low_s_and_recovers_the_signer(vault: Vault) -> None:
    """Both parities and many digests; eth_keys recovers the address as a node would (EIP-2)."""
    public = await vault.ensure_secp256k1("chain/minter")
    assert len(public) == 65
    assert public[0] == 4
    parities = set()
    for number in range(64):
        digest = number.to_bytes(32, "big")
        r, s, parity = await vault.sign_secp256k1("chain/minter", digest)
        assert 0 < s <= HALF_ORDER
        signature = Signature(vrs=(parity, r, s))
        assert signature.recover_public_key_from_msg_hash(digest).to_bytes() == public[1:]
        parities.add(parity)
    assert parities == {0, 1}


async def test_eth_account_recovers_the_vaults_address_from_a_message(vault: Vault) -> None:
    public = await vault.ensure_secp256k1("chain/minter")
    message = encode_defunct(text="an invoice")
    r, s, parity = await vault.sign_secp256k1("chain/minter", _digest_of(message))
    recovered = Account.recover_message(message, vrs=(to_eth_v(parity), r, s))
    assert recovered == PublicKey(public[1:]).to_checksum_address()


@pytest.mark.parametrize("size", [0, 31, 33, 64])
async def test_only_a_32_byte_digest_is_signed(vault: Vault, size: int) -> None:
    await vault.ensure_secp256k1("chain/minter")
    with pytest.raises(ValueError, match="32-byte"):
        await vault.sign_secp256k1("chain/minter", b"x" * size)


async def test_an_rsa_signature_verifies_as_pkcs1_sha256(vault: Vault) -> None:
    public_der = await vault.ensure_rsa("bank/signing")
    assert await vault.ensure_rsa("bank/signing") == public_der
    public = serialization.load_der_public_key(public_der)
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 2048
    signature = await vault.sign_rsa_sha256("bank/signing", b"body")
    public.verify(signature, b"body", padding.PKCS1v15(), hashes.SHA256())


async def test_an_hmac_is_the_same_each_time_and_differs_by_key_and_message(vault: Vault) -> None:
    tags = [
        await vault.hmac_sha256(name, message) for name, message in [("a", b"m"), ("a", b"m"), ("b", b"m"), ("a", b"n")]
    ]
    assert tags[0] == tags[1]
    assert len({tags[0], tags[2], tags[3]}) == 3
    assert {len(tag) for tag in tags} == {32}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data_key=st.binary(max_size=64), context=st.binary(max_size=64))
def test_what_is_wrapped_unwraps(house: House, data_key: bytes, context: bytes) -> None:
    vault = house.open()

    async def round_trip() -> bytes:
        return await vault.unwrap("kek", await vault.wrap("kek", data_key, context=context), context=context)

    assert asyncio.run(round_trip()) == data_key


async def test_a_wrapped_key_unwraps_only_whole_under_its_key_and_context(vault: Vault) -> None:
    wrapped = await vault.wrap("kek", b"k" * 32, context=b"tnt_a")
    await vault.wrap("other", b"", context=b"")
    refused = [(name, wrapped, context) for name, context in [("kek", b"tnt_b"), ("other", b"tnt_a")]]
    refused += [("kek", flipped(wrapped, position), b"tnt_a") for position in range(len(wrapped))]
    refused += [("kek", wrapped[:length], b"tnt_a") for length in range(len(wrapped))]
    for name, changed, context in refused:
        with pytest.raises(ValueError):
            await vault.unwrap(name, changed, context=context)
    assert await vault.unwrap("kek", wrapped, context=b"tnt_a") == b"k" * 32


@pytest.mark.parametrize("made_before", [True, False])
async def test_a_destroyed_wrapping_key_is_gone_for_ever_and_for_every_process(house: House, made_before: bool) -> None:
    vault, other = house.open(), house.open()
    wrapped = await vault.wrap("kept", b"k", context=b"")
    closed = await other.wrap("gone", b"k", context=b"") if made_before else wrapped
    for _ in range(2):
        await vault.destroy_wrapping_key("gone")
    for each in (vault, other, house.open()):
        with pytest.raises(WrappingKeyDestroyed):
            await each.unwrap("gone", closed, context=b"")
        with pytest.raises(WrappingKeyDestroyed):
            await each.wrap("gone", b"k", context=b"")
        assert await each.unwrap("kept", wrapped, context=b"") == b"k"


async def test_a_key_or_secret_that_was_never_made_is_a_key_error(vault: Vault) -> None:
    await vault.ensure_ed25519("there")
    asked: list[Awaitable[object]] = [
        vault.sign_ed25519("missing", b""),
        vault.sign_secp256k1("there", b"\0" * 32),
        vault.sign_rsa_sha256("there", b""),
        vault.unwrap("there", b"", context=b""),
        vault.secret("there"),
    ]
    for question in asked:
        with pytest.raises(KeyError):
            await question


@pytest.mark.parametrize("name", ["", "a b", "a\n", "é", "x" * 201])
async def test_a_name_that_no_hsm_would_take_is_refused(vault: Vault, name: str) -> None:
    with pytest.raises(ValueError, match="not a key name"):
        await vault.ensure_ed25519(name)
    with pytest.raises(ValueError, match="not a key name"):
        await vault.put_secret(name, "value")


async def test_a_restart_keeps_keys_and_secrets(house: House) -> None:
    before = house.open()
    await before.put_secret("sumsub/token", "one")
    await before.put_secret("sumsub/token", "two")
    kept = [await ask(before) for ask in ENSURES]
    after = house.open()
    assert [await ask(after) for ask in ENSURES] == kept
    assert await after.secret("sumsub/token") == "two"


async def test_two_vaults_on_one_folder_agree_at_once(house: House) -> None:
    """Both race for the same keys; each sees what the other has written without a restart."""
    one, two = house.open(), house.open()
    names = [f"race/{number}" for number in range(8)]
    made = await asyncio.gather(*(vault.ensure_ed25519(name) for name in names for vault in (one, two)))
    assert made[::2] == made[1::2]
    assert len(set(made)) == len(names)
    for value in ("same-length-1", "same-length-2", "same-length-3"):
        await one.put_secret("shared", value)
        assert await two.secret("shared") == value


_RACER = """
import asyncio, sys
from tests.adapters.vaults import opened

async def main():
    vault = opened(sys.argv[1], sys.argv[2])
    for number in range(12):
        print((await vault.ensure_secp256k1(f"race/{number}")).hex(), flush=True)
        print((await vault.hmac_sha256(f"race/{number}", b"m")).hex(), flush=True)
    await vault.put_secret(f"of/{sys.argv[3]}", "kept")

asyncio.run(main())
"""


async def test_two_processes_make_every_key_once(house: House) -> None:
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RACER, house.kind, str(house.folder), str(number), stdout=asyncio.subprocess.PIPE
        )
        for number in range(2)
    ]
    told = [(await racer.communicate())[0] for racer in racers]
    assert told[0] == told[1]
    assert len(set(told[0].split())) == 24
    vault = house.open()
    assert [await vault.secret("of/0"), await vault.secret("of/1")] == ["kept", "kept"]


_WRITER = """
import asyncio, sys
from tests.adapters.vaults import opened

async def main():
    vault = opened(sys.argv[1], sys.argv[2])
    for number in range(100_000):
        await vault.put_secret(f"n/{number}", "x" * 200)
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_killed_writer_loses_nothing_that_it_had_acknowledged(house: House) -> None:
    for acknowledged_wanted in (1, 5, 9):
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITER, house.kind, str(house.folder), stdout=asyncio.subprocess.PIPE
        )
        assert writer.stdout is not None
        for number in range(acknowledged_wanted):
            assert int(await asyncio.wait_for(writer.stdout.readline(), 30)) == number
        writer.kill()
        await writer.communicate()
        vault = house.open()
        for number in range(acknowledged_wanted):
            assert await vault.secret(f"n/{number}") == "x" * 200
        await vault.put_secret("after", str(acknowledged_wanted))


async def test_while_the_switch_is_down_nothing_is_signed_or_told(vault: Vault, house: House) -> None:
    for ask in ENSURES:
        await ask(vault)
    await vault.put_secret("name", "value")
    wrapped = await vault.wrap("kek", b"k", context=b"")
    (house.folder / "down").touch()
    everything: list[Awaitable[object]] = [
        *(ask(vault) for ask in ENSURES),
        vault.sign_ed25519("k", b""),
        vault.sign_secp256k1("k", b"\0" * 32),
        vault.sign_rsa_sha256("k", b""),
        vault.wrap("kek", b"k", context=b""),
        vault.unwrap("kek", wrapped, context=b""),
        vault.destroy_wrapping_key("kek"),
        vault.secret("name"),
        vault.put_secret("name", "other"),
        vault.ensure_ed25519("new"),
    ]
    for question in everything:
        with pytest.raises(VaultUnavailable):
            await question
    assert not await vault.healthy()
    (house.folder / "down").unlink()
    assert await vault.healthy()
    assert await vault.secret("name") == "value"


async def test_a_vault_that_is_down_from_the_start_makes_nothing(house: House) -> None:
    (house.folder / "down").touch()
    with pytest.raises(VaultUnavailable):
        await house.open().ensure_ed25519("k")
    (house.folder / "down").unlink()
    with pytest.raises(KeyError):
        await house.open().sign_ed25519("k", b"")


async def test_no_file_shows_a_secret_and_only_the_owner_may_read(vault: Vault, house: House) -> None:
    for ensure in ENSURES:
        await ensure(vault)
    await vault.put_secret("sumsub/token", CANARY)
    kept = [path for path in files_of(house.folder) if path.name != "softhsm2.conf"]
    assert kept
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert CANARY.encode() not in path.read_bytes()
        assert b"sumsub" not in path.read_bytes()
    assert key_files(house.folder) == []


def _digest_of(message: SignableMessage) -> bytes:
    """What EIP-191 has one sign."""
    return keccak(b"\x19" + message.version + message.header + message.body)
