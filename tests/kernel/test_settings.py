"""Settings that must not be run with are refused before anything starts (EN-05, P-19)."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fintokenx.kernel.settings import BadSettings, Environment, Settings

GOOD: dict[str, Any] = {
    "environment": Environment.PRODUCTION,
    "public_url": "https://fintokenx.example",
    "listen_host": "0.0.0.0",
    "listen_port": 8000,
    "database_url": "postgresql://db.internal:5432/fintokenx",
    "vault": "pkcs11:/usr/lib/softhsm.so",
    "blobs_url": "s3://bucket/prefix",
    "chain_rpc_urls": ("https://rpc.example",),
    "chain_id": 1,
    "chain_deployment": "deployment.json",
    "sumsub_url": "https://api.sumsub.com",
    "complyadvantage_url": "https://api.complyadvantage.com",
    "bank_url": "https://institution-api.clear.bank",
    "open_banking_url": "https://openbanking.example",
    "smtp_host": "smtp.example",
    "smtp_port": 587,
}


def test_good_settings_survive_a_file(tmp_path: Path) -> None:
    settings = Settings(**GOOD)
    settings.save(tmp_path / "settings.json")
    assert Settings.load(tmp_path / "settings.json") == settings


@pytest.mark.parametrize("name", ["sumsub_url", "complyadvantage_url", "bank_url", "open_banking_url"])
@pytest.mark.parametrize(
    "url", ["http://api.vendor.example", "https://localhost:9", "https://127.0.0.1:9", "https://[::1]:9"]
)
def test_production_refuses_a_mock(name: str, url: str) -> None:
    with pytest.raises(BadSettings, match=f"{name} points at a mock"):
        Settings(**{**GOOD, name: url})


@pytest.mark.parametrize("environment", [Environment.PRODUCTION, Environment.PREVIEW, Environment.AI_LAB])
@pytest.mark.parametrize(
    "control", [{"sandbox_clock": "/tmp/clock"}, {"sandbox_control_urls": {"bank": "http://127.0.0.1:9"}}]
)
def test_sandbox_controls_are_refused_outside_local_and_sandbox(environment: Environment, control: Any) -> None:
    with pytest.raises(BadSettings, match="sandbox controls"):
        Settings(**{**GOOD, "environment": environment, **control})
    Settings(**{**GOOD, "environment": Environment.SANDBOX, **control})


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "tab\t"])
def test_a_log_has_a_name_that_a_signed_note_can_carry(name: str) -> None:
    with pytest.raises(BadSettings, match="log_origin"):
        Settings(**{**GOOD, "log_origin": name})


@pytest.mark.parametrize("environment", [e for e in Environment if e is not Environment.LOCAL])
def test_the_file_vault_is_refused_outside_local(environment: Environment) -> None:
    with pytest.raises(BadSettings, match="file vault"):
        Settings(**{**GOOD, "environment": environment, "vault": "file:/keys"})
    Settings(**{**GOOD, "environment": Environment.LOCAL, "vault": "file:/keys"})


@pytest.mark.parametrize("url", ["postgresql://u:p@db/x", "postgresql://u@db/x", "postgresql://db/x?user=u&password=p"])
def test_a_database_address_with_credentials_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="must not carry credentials"):
        Settings(**{**GOOD, "database_url": url})


@pytest.mark.parametrize("name", ["chain_authorities", "chain_client_certificate"])
def test_certificates_for_nodes_that_are_called_in_the_clear_are_refused(name: str) -> None:
    """CH-03: they would not be shown, and nobody would notice."""
    with pytest.raises(BadSettings, match="must all be https"):
        Settings(**{**GOOD, name: "chain.crt", "chain_rpc_urls": ("https://a.example", "http://b.example")})
    Settings(**{**GOOD, name: "chain.crt", "chain_rpc_urls": ("https://a.example", "https://b.example")})


def test_no_setting_has_a_place_for_a_secret() -> None:
    """P-19."""
    words = ("password", "secret", "token", "key", "credential")
    assert [f.name for f in fields(Settings) if any(word in f.name for word in words)] == []


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", json.dumps({**GOOD, "bank_token": "x"}), json.dumps({**GOOD, "environment": "prod"}),
     json.dumps({k: v for k, v in GOOD.items() if k != "vault"})],
)  # fmt: skip
def test_a_file_that_is_not_exactly_the_settings_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(BadSettings):
        Settings.load(tmp_path / "settings.json")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings):
        Settings.load(tmp_path / "none.json")
