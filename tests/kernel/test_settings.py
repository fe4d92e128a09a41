"""Settings that must not be run with are refused before anything starts (EN-05, P-19)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fintokenx.app import wiring
from fintokenx.kernel.jobs import SLOTS, Lane
from fintokenx.kernel.settings import BadSettings, Environment, Settings
from tests.kernel.good_settings import GOOD

SAID = "hunter2"


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


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "bank.localhost", "127.0.0.2", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"]
)
def test_production_knows_this_machine_by_every_name_of_it(host: str) -> None:
    with pytest.raises(BadSettings, match="bank_url points at a mock"):
        Settings(**{**GOOD, "bank_url": f"https://{host}/"})


@pytest.mark.parametrize("address", ["", "api.vendor.example", "file:///etc", "https://", "https://host:port", 7, None])
def test_what_is_no_address_is_refused_by_name(address: object) -> None:
    with pytest.raises(BadSettings, match="bank_url is no address"):
        Settings(**{**GOOD, "bank_url": address})


@pytest.mark.parametrize("name", ["sumsub_url", "a_provider_that_comes_url"])
def test_an_address_with_credentials_is_refused_and_they_are_not_repeated(name: str) -> None:
    """P-19."""
    with pytest.raises(BadSettings, match=f"{name} must not carry credentials") as refusal:
        Settings(**{**GOOD, name: f"https://{'user'}:{SAID}@vendor.example"})
    assert SAID not in str(refusal.value)


def test_nothing_is_read_from_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may well have a variable VAULT or ENVIRONMENT, and they are not ours."""
    for name in (*Settings.model_fields, "bank_url"):
        monkeypatch.setenv(name.upper(), "local")
        monkeypatch.setenv(name, "local")
    assert Settings(**GOOD) == Settings.model_validate(GOOD)
    assert (Settings(**GOOD).vault, Settings(**GOOD).chain_authorities) == (GOOD["vault"], "")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("environment", "prod", "environment: Input should be 'local', 'preview'"),
        ("listen_port", "http", "listen_port: Input should be a valid integer"),
        ("chain_rpc_urls", "https://rpc.example", "chain_rpc_urls: Input should be a valid tuple"),
        ("sandbox_control_urls", {"bank": 7}, "sandbox_control_urls.bank: Input should be a valid string"),
        ("public_url", None, "public_url: Input should be a valid string"),
    ],
)
def test_a_file_with_a_wrong_value_is_refused_with_the_name_of_the_setting_and_without_the_value(
    tmp_path: Path, setting: str, value: object, said: str
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({**GOOD, setting: value}))
    with pytest.raises(BadSettings) as refusal:
        Settings.load(path)
    assert str(refusal.value).startswith(f"settings.json: {said}")
    assert "rpc.example" not in str(refusal.value)


def test_a_file_that_lacks_settings_is_refused_with_all_their_names(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(
        json.dumps({k: v for k, v in GOOD.items() if k not in ("vault", "chain_id")})
    )
    with pytest.raises(BadSettings, match=r"^settings\.json: vault: Field required; chain_id: Field required$"):
        Settings.load(tmp_path / "settings.json")


def test_the_file_is_the_one_that_earlier_versions_wrote(tmp_path: Path) -> None:
    """One flat object: addresses of providers stand beside the rest."""
    path = tmp_path / "settings.json"
    Settings(**GOOD).save(path)
    assert json.loads(path.read_text()) == {
        **GOOD, "environment": "production", "chain_rpc_urls": ["https://rpc.example"], "chain_authorities": "",
        "chain_client_certificate": "", "log_origin": "log.fintokenx.example/local", "sandbox_clock": "",
        "sandbox_control_urls": {},
    }  # fmt: skip


def test_settings_do_not_change_while_they_are_in_use() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings(**GOOD).vault = "file:/keys"  # type: ignore[misc]


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
    assert [name for name in Settings.model_fields if any(word in name for word in words)] == []


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


def test_lanes_and_slots_survive_a_file_and_are_checked_before_anything_starts(tmp_path: Path) -> None:
    chosen = Settings(**GOOD, lanes=("money", "chain"), lane_slots={"chain": 3})
    chosen.save(tmp_path / "settings.json")
    assert Settings.load(tmp_path / "settings.json") == chosen
    assert wiring.job_slots(chosen) == {Lane.MONEY: SLOTS[Lane.MONEY], Lane.CHAIN: 3}
    assert wiring.job_slots(chosen, ["ai"]) == {Lane.AI: SLOTS[Lane.AI]}
    assert wiring.job_slots(Settings(**GOOD)) == SLOTS
    for wrong in ({"lanes": ("gold",)}, {"lane_slots": {"gold": 1}}, {"lane_slots": {"money": 0}}):
        with pytest.raises(BadSettings, match=r"unknown lane 'gold'|lane money has no slot"):
            wiring.job_slots(Settings(**{**GOOD, **wrong}))
