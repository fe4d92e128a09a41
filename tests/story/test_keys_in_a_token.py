"""The whole story with the keys in a PKCS#11 token: it ends as always, and no private key is in any file (SB-02)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fintokenx.adapters.vault import Pkcs11Vault
from fintokenx.app import providers, provision, vaults
from fintokenx.app.demo import default_invoice
from fintokenx.app.demo_paper import Paper
from fintokenx.app.failed import LocalSystemFailed
from tests.story.house import Told, cli, told
from tests.support.key_files import files_with, key_files

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
async def tale() -> AsyncIterator[Told]:
    """The demo's story on a system that was made with FX_VAULT=pkcs11."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(vaults.KIND_VARIABLE, "pkcs11")
        async with told(Paper.read(default_invoice())) as ended:
            environment.undo()
            yield ended


async def test_it_ends_settled_burned_balanced_and_proved(tale: Told) -> None:
    outcome = tale.story.outcome
    assert (outcome.invoice_state, outcome.token_state) == ("SETTLED", "BURNED")
    assert not outcome.trial_difference
    assert outcome.entries == outcome.entries_proved >= 11


async def test_no_private_key_and_no_credential_is_in_any_file(tale: Told) -> None:
    vault = tale.system.vault()
    names = (*providers.credential_names(), provision.PIN_KEY, provision.REFERENCE_KEY, provision.FINGERPRINT_KEY)
    secrets = [(await vault.secret(name)).encode() for name in names]
    for folder in (tale.system.folder, await database_of(tale)):
        assert key_files(folder) == []
        assert files_with(folder, [*secrets, *(bytes.fromhex(secret.decode()) for secret in secrets)]) == []


async def database_of(tale: Told) -> Path:
    """Where the database really is: root's server user may have it elsewhere."""
    return (await tale.system.postgres()).log.parent


async def test_a_system_keeps_the_vault_that_it_was_made_with(tale: Told) -> None:
    """The variable is not set any more: it is for systems that are made."""
    assert isinstance(tale.system.vault(), Pkcs11Vault)
    assert tale.system.settings().vault.startswith("pkcs11:")
    assert cli("audit", "verify").returncode == 0


async def test_another_kind_of_vault_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(vaults.KIND_VARIABLE, "paper")
    with pytest.raises(LocalSystemFailed, match="file or pkcs11"):
        await vaults.make(tmp_path)


async def test_a_machine_without_softhsm_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(vaults.KIND_VARIABLE, "pkcs11")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalSystemFailed, match="apt-get install softhsm2"):
        await vaults.make(tmp_path / "vault")
    assert not (tmp_path / "vault").exists()
