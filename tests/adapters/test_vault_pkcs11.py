"""The vault in a PKCS#11 token: nothing comes out, a lost token is said to be lost, its URI has no credential."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass

from fintokenx.adapters.vault import Pkcs11Vault, TokenLocation
from fintokenx.adapters.vault.token import Session, ask
from fintokenx.kernel.settings import BadSettings
from fintokenx.kernel.vault import Vault, VaultUnavailable
from fintokenx.sandbox import softhsm
from tests.adapters.vaults import CANARY, ENSURES, House, house_of, location_in
from tests.support.key_files import files_of, key_files

pytestmark = pytest.mark.anyio
HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
SECRET_PARTS = (Attribute.VALUE, Attribute.PRIVATE_EXPONENT, Attribute.PRIME_1, Attribute.PRIME_2)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return house_of("pkcs11", tmp_path / "vault")


@pytest.fixture
def vault(house: House) -> Vault:
    return house.open()


@pytest.fixture
def other_house(tmp_path: Path) -> House:
    return house_of("pkcs11", tmp_path / "other")


async def inside(house: House, look: Callable[[Session], object]) -> object:
    """Ask the token directly."""
    return await ask(location_in(house.folder), look)


async def with_one_of_each(vault: Vault) -> None:
    """A key of every kind, and a credential."""
    for ensure in ENSURES:
        await ensure(vault)
    await vault.wrap("k", b"", context=b"")
    await vault.put_secret("sumsub/token", CANARY)


async def test_no_private_or_secret_key_can_be_read_or_was_ever_outside(vault: Vault, house: House) -> None:
    await with_one_of_each(vault)

    def look(session: Session) -> list[str]:
        seen = []
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
            for key in session.raw.get_objects({Attribute.CLASS: kind}):
                for part in SECRET_PARTS:
                    with pytest.raises((pkcs11.AttributeSensitive, pkcs11.AttributeTypeInvalid)):
                        key[part]
                with pytest.raises(pkcs11.AttributeSensitive):
                    key[Attribute.PRIVATE_EXPONENT if key.label == "rsa:k" else Attribute.VALUE]
                flags = (Attribute.SENSITIVE, Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE, Attribute.LOCAL)
                assert [key[flag] for flag in flags] == [True] * 4
                assert key[Attribute.EXTRACTABLE] is False
                with pytest.raises(pkcs11.PKCS11Error):
                    key[Attribute.EXTRACTABLE] = True
                seen.append(key.label)
        return sorted(seen)

    assert await inside(house, look) == ["aes:k", "ed25519:k", "hmac:k", "rsa:k", "secp256k1:k"]


async def test_the_token_gives_high_s_and_the_vault_turns_it(vault: Vault, house: House) -> None:
    """That the raw signatures are high about half the time shows that the turning is needed."""
    await vault.ensure_secp256k1("k")

    def raw(session: Session) -> list[int]:
        key = session.key(ObjectClass.PRIVATE_KEY, "secp256k1:k")
        made = [key.sign(bytes(32), mechanism=pkcs11.Mechanism.ECDSA) for _ in range(64)]
        return [int.from_bytes(signature[32:], "big") for signature in made]

    high = await inside(house, raw)
    assert isinstance(high, list)
    assert any(s > HALF_ORDER for s in high)
    assert all([(await vault.sign_secp256k1("k", bytes(32)))[1] <= HALF_ORDER for _ in range(64)])


async def test_only_who_logged_in_sees_credentials_and_private_keys(vault: Vault, house: House) -> None:
    await with_one_of_each(vault)
    program = (
        "import pkcs11, sys\n"
        "session = pkcs11.lib(sys.argv[1]).get_token(token_label='fintokenx').open()\n"
        "print(sorted({o.object_class.name for o in session.get_objects()}))\n"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": str(house.folder / "softhsm2.conf")}
    command = [sys.executable, "-c", program, str(softhsm.module_path())]
    seen = await asyncio.to_thread(subprocess.check_output, command, env=environment, text=True)
    assert seen.strip() == "['PUBLIC_KEY']"


async def test_no_file_of_the_token_shows_a_key_or_a_credential(vault: Vault, house: House) -> None:
    await with_one_of_each(vault)
    assert key_files(house.folder) == []
    for path in files_of(house.folder):
        assert CANARY.encode() not in path.read_bytes()
        assert b"sumsub" not in path.read_bytes()
        if path.name != "softhsm2.conf":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    "planted",
    [
        b"-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN EC PRIVATE KEY-----\n",
        b"some bytes " + bytes.fromhex("302e020100300506032b657004220420") + bytes(32),
        base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + bytes(32)),
        bytes.fromhex("308204be020100300d06092a864886f70d0101010500048204a8308204a4020100") + bytes(64),
    ],
    ids=["pem", "ec pem", "pkcs8", "pkcs8 in base64", "rsa pkcs8"],
)
async def test_the_search_finds_a_planted_private_key(house: House, planted: bytes) -> None:
    (house.folder / "notes.txt").write_bytes(planted)
    assert key_files(house.folder) == [house.folder / "notes.txt"]


async def test_a_token_that_is_gone_is_unavailable_and_recovers(vault: Vault, house: House) -> None:
    await with_one_of_each(vault)
    public = await vault.ensure_ed25519("k")
    (house.folder / "tokens").rename(house.folder / "elsewhere")
    for ask_for in (
        vault.ensure_ed25519("k"), vault.ensure_ed25519("new"), vault.sign_ed25519("k", b""), vault.secret("missing"),
        vault.sign_secp256k1("k", bytes(32)), vault.hmac_sha256("new", b""), vault.wrap("k", b"", context=b""),
        vault.put_secret("sumsub/token", "other"),
    ):  # fmt: skip
        with pytest.raises(VaultUnavailable):
            await ask_for
    assert not await vault.healthy()
    (house.folder / "elsewhere").rename(house.folder / "tokens")
    assert await vault.healthy()
    assert await vault.ensure_ed25519("k") == public
    assert await vault.secret("sumsub/token") == CANARY


# python-pkcs11 complains in a destructor when it cannot end a search on a closed session.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_session_that_was_logged_out_is_opened_again(vault: Vault, house: House) -> None:
    await with_one_of_each(vault)

    def close(session: Session) -> None:
        session.raw.close()  # which logs out, too

    await inside(house, close)
    assert await vault.secret("sumsub/token") == CANARY
    assert len(await vault.sign_ed25519("k", b"")) == 64


async def test_a_module_that_is_not_there_is_unavailable_until_it_is(house: House, tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    vault = Pkcs11Vault(replace(location_in(house.folder), module_path=module))
    assert not await vault.healthy()
    with pytest.raises(VaultUnavailable, match="module-path"):
        await vault.ensure_ed25519("k")
    module.write_text("not a library")
    with pytest.raises(VaultUnavailable):
        await vault.ensure_ed25519("k")
    module.unlink()
    module.symlink_to(softhsm.module_path())
    assert len(await vault.ensure_ed25519("k")) == 32


async def test_a_token_without_our_mark_is_not_used(house: House, tmp_path: Path) -> None:
    """An empty token may be one that was initialised over ours: keys must not be made anew without notice."""
    softhsm.create(tmp_path / "bare")
    bare = Pkcs11Vault(location_in(tmp_path / "bare"))
    with pytest.raises(VaultUnavailable, match="prepared"):
        await bare.ensure_ed25519("k")
    await bare.prepare()
    assert len(await bare.ensure_ed25519("k")) == 32


@pytest.mark.parametrize("half", [ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY])
async def test_a_pair_that_lost_a_half_is_not_made_anew(vault: Vault, house: House, half: ObjectClass) -> None:
    await vault.ensure_ed25519("k")

    def lose(session: Session) -> None:
        for found in session.objects(half, "ed25519:k"):
            found.destroy()
        session.keys.clear()

    await inside(house, lose)
    with pytest.raises(VaultUnavailable, match="gone"):
        await vault.ensure_ed25519("k")


async def test_a_pair_whose_maker_was_killed_between_its_halves_is_finished(vault: Vault, house: House) -> None:
    public = await vault.ensure_ed25519("k")

    def undo(session: Session) -> None:
        for found in session.objects(ObjectClass.PUBLIC_KEY, "ed25519:k"):
            found[Attribute.LABEL] = "unfinished"
        session.keys.clear()

    await inside(house, undo)
    assert await vault.ensure_ed25519("k") == public


async def test_a_replacement_that_was_cut_short_leaves_the_newer_value(vault: Vault, house: House) -> None:
    await vault.put_secret("name", "old")

    def add(session: Session) -> None:
        session.raw.create_object(
            {
                Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.PRIVATE: True,
                Attribute.LABEL: "secret:name", Attribute.VALUE: (9).to_bytes(8, "big") + b"new",
            }
        )  # fmt: skip

    await inside(house, add)
    assert await vault.secret("name") == "new"
    await vault.put_secret("name", "newest")
    assert await vault.secret("name") == "newest"
    assert len(await inside(house, lambda session: session.objects(ObjectClass.DATA, "secret:name"))) == 1  # type: ignore[arg-type]


async def test_a_pin_that_others_may_read_is_not_used(house: House) -> None:
    await forgotten(house)
    (house.folder / "pin").chmod(0o640)
    with pytest.raises(VaultUnavailable, match="0600"):
        await house.open().ensure_ed25519("k")


async def test_a_refused_pin_is_tried_once_so_that_the_token_is_not_locked(house: House) -> None:
    await forgotten(house)
    (house.folder / "pin").write_text("0000")
    vault = house.open()
    for _ in range(20):
        with pytest.raises(VaultUnavailable, match="PIN"):
            await vault.ensure_ed25519("k")
    assert not await vault.healthy()


async def test_two_systems_in_one_process_have_each_its_own_token(house: House, other_house: House) -> None:
    """The module is told where its tokens are when it is initialised: it is, again, for each of them."""
    one, two = house.open(), other_house.open()
    first, second = await one.ensure_ed25519("k"), await two.ensure_ed25519("k")
    assert first != second
    assert await asyncio.gather(one.ensure_ed25519("k"), two.ensure_ed25519("k")) == [first, second]


async def test_many_callers_at_once_all_get_their_answer(vault: Vault) -> None:
    await vault.ensure_ed25519("k")
    await vault.put_secret("name", "value")
    asked = [vault.sign_ed25519("k", bytes([n])) for n in range(100)]
    told = [vault.secret("name") for _ in range(100)]
    assert len(set(await asyncio.gather(*asked))) == 100
    assert set(await asyncio.gather(*told)) == {"value"}


_SIGNER = """
import asyncio, sys
from tests.adapters.vaults import opened

async def main():
    vault = opened("pkcs11", sys.argv[1])
    for number in range(10_000):
        await vault.ensure_ed25519(f"of/{sys.argv[2]}/{number}")
        await vault.put_secret("shared", f"{sys.argv[2]}:{number}")
        print(number, flush=True)

asyncio.run(main())
"""


async def test_processes_killed_at_making_keys_leave_a_sound_token(house: House) -> None:
    makers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _SIGNER, str(house.folder), str(number), stdout=asyncio.subprocess.PIPE
        )
        for number in range(2)
    ]
    made = []
    for maker in makers:
        assert maker.stdout is not None
        for _ in range(5):
            await asyncio.wait_for(maker.stdout.readline(), 60)
        maker.send_signal(signal.SIGKILL)
        rest, _ = await maker.communicate()
        made.append(5 + len(rest.split()))
    vault = house.open()
    for number, count in enumerate(made):
        for key in range(count):
            assert len(await vault.sign_ed25519(f"of/{number}/{key}", b"")) == 64
        assert len(await vault.ensure_ed25519(f"of/{number}/{count}")) == 32
    assert re.fullmatch(r"[01]:\d+", await vault.secret("shared"))


async def test_the_uri_of_a_token_survives_a_round_trip(tmp_path: Path) -> None:
    location = TokenLocation("a b;c?&=%", Path("/m o/d.so"), tmp_path / "pin", "01/2", tmp_path / "conf")
    assert TokenLocation.parse(location.uri) == location
    assert TokenLocation.parse("pkcs11:token=t?pin-source=file:///p&module-path=/m").pin_path == Path("/p")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("file:/somewhere", "begins with pkcs11"),
        ("pkcs11:?module-path=/m&pin-source=file:/p", "lacks token"),
        ("pkcs11:token=t?pin-source=file:/p", "lacks module-path"),
        ("pkcs11:token=t?module-path=/m", "lacks pin-source"),
        ("pkcs11:token=t?module-path=m&pin-source=file:/p", "absolute"),
        ("pkcs11:token=t?module-path=/m&pin-source=/p", "file:"),
        ("pkcs11:token=t?module-path=/m&pin-source=|cat", "file:"),
        ("pkcs11:token=t;token=u?module-path=/m&pin-source=file:/p", "twice"),
        ("pkcs11:token=t?module-path=/m&pin-value=4711", "credential"),
        ("pkcs11:token=t?module-path=/m&pin-source=file:/p&4711", "unknown"),
        ("pkcs11:token=%ff?module-path=/m&pin-source=file:/p", "UTF-8"),
        ("pkcs11:slot-id=1?module-path=/m&pin-source=file:/p", "unknown attribute slot-id"),
    ],
)
async def test_a_uri_that_cannot_be_used_is_refused_and_no_pin_is_repeated(uri: str, why: str) -> None:
    with pytest.raises(BadSettings, match=why) as refused:
        TokenLocation.parse(uri)
    assert "4711" not in str(refused.value)


async def forgotten(house: House) -> None:
    """This process has no session of its token any more."""
    other = replace(location_in(house.folder), module_path=Path("/nowhere.so"))
    assert not await Pkcs11Vault(other).healthy()
