"""Settings of one running platform. No credential has a field here: those are fetched from the vault (P-19, P-20)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fintokenx.kernel.notes import is_key_name


class Environment(StrEnum):
    """The five environments (EN-01 … EN-06)."""

    LOCAL = "local"
    PREVIEW = "preview"
    AI_LAB = "ai-lab"
    SANDBOX = "sandbox"
    PRODUCTION = "production"

    @property
    def has_sandbox_controls(self) -> bool:
        """Clock, provider switches and chain pause exist in local and sandbox only."""
        return self in (Environment.LOCAL, Environment.SANDBOX)


class BadSettings(Exception):
    """The settings cannot be run with; the message says which and why."""


class Settings(BaseSettings):
    """Everything that differs between two installations. Addresses and names only, never a secret.

    Beside the fields below there is one ``<provider>_url`` for each HTTP provider. Which there must be is the list of
    providers' to say (app/providers.py), at boot. Nothing is read from the process's environment.
    """

    model_config = SettingsConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    environment: Environment
    public_url: str
    """Where people and partners reach the platform; magic links start with it."""
    listen_host: str
    listen_port: int
    database_url: str
    """``postgresql://host:port/name`` without user or password: roles and their passwords come from the vault."""
    vault: str
    """``file:<folder>`` (local only) or a token: ``pkcs11:token=<label>?module-path=<path>&pin-source=file:<path>``
    (RFC 7512)."""
    blobs_url: str
    """``file:///folder`` or ``s3://bucket/prefix``."""
    chain_rpc_urls: tuple[str, ...]
    """Nodes of the network, in the order in which they are asked: the next one where one fails."""
    chain_id: int
    chain_deployment: str
    """Path of the JSON that names the deployed contracts."""
    smtp_host: str
    smtp_port: int
    chain_authorities: str = ""
    """Path of the certificates (PEM) by which the nodes are known; empty = those that this machine trusts."""
    chain_client_certificate: str = ""
    """Path of the certificate (PEM) by which the nodes know us; empty = none is shown. Its key is in the vault."""
    lanes: tuple[str, ...] = ()
    """Job lanes that a process serves; empty = all. ``serve --lanes`` goes before it."""
    lane_slots: dict[str, int] = Field(default_factory=dict)
    """How many jobs of a lane a process runs at once, where it is not as many as kernel.jobs.SLOTS says."""
    log_origin: str = "log.fintokenx.example/local"
    """The name under which the open log signs its checkpoints: for ever the same, and nobody else's."""
    sandbox_clock: str = ""
    """Path of the shared sandbox clock; empty = the machine's clock."""
    sandbox_control_urls: dict[str, str] = Field(default_factory=dict)
    """Where each mock server's control endpoint is, by its name."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 — its signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, and nothing else: a variable ``VAULT`` or ``ENVIRONMENT`` of the machine is not ours."""
        return (init_settings,)

    @model_validator(mode="after")
    def _can_be_run_with(self) -> Self:
        if unknown := sorted(name for name in self._others if not name.endswith("_url")):
            raise BadSettings(f"unknown settings: {', '.join(unknown)}")
        for name, address in self.addresses().items():
            _must_be_an_address(name, address, is_production=self.environment is Environment.PRODUCTION)
        if not self.environment.has_sandbox_controls and (self.sandbox_clock or self.sandbox_control_urls):
            raise BadSettings(f"sandbox controls are set in {self.environment}")
        if self.vault.startswith("file:") and self.environment is not Environment.LOCAL:
            raise BadSettings("the file vault is for local only")
        if not is_key_name(self.log_origin):
            raise BadSettings("log_origin must be a name without white space and plus signs")
        in_the_clear = [url for url in self.chain_rpc_urls if urlsplit(url).scheme != "https"]
        if in_the_clear and (self.chain_authorities or self.chain_client_certificate):
            raise BadSettings("chain_rpc_urls must all be https where certificates for them are set")
        database = urlsplit(self.database_url)
        if "@" in database.netloc or "password" in database.query or "user" in database.query:
            raise BadSettings("database_url must not carry credentials: they come from the vault")
        return self

    @property
    def _others(self) -> Mapping[str, Any]:
        return self.model_extra or {}

    def addresses(self) -> dict[str, str]:
        """Where each provider is, by the setting that says so; the mail relay as ``smtp://host:port``."""
        return {**self._others, "smtp_host": f"smtp://{self.smtp_host}:{self.smtp_port}"}

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read the JSON file. :raises BadSettings: which setting is unknown, missing or not what it should be"""
        try:
            raw = json.loads(path.read_text())
        except (OSError, ValueError) as fault:
            raise BadSettings(f"{path.name}: {fault}") from fault
        if not isinstance(raw, dict):
            raise BadSettings(f"{path.name} is no JSON object")
        try:
            return cls(**raw)
        except ValidationError as fault:
            wrong = (f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in fault.errors(include_url=False))
            raise BadSettings(f"{path.name}: {'; '.join(wrong)}") from None  # the fault itself holds what was given

    def save(self, path: Path) -> None:
        """Write the JSON file that :meth:`load` reads."""
        unset = {name for name in ("lanes", "lane_slots") if not getattr(self, name)}  # earlier versions know neither
        path.write_text(json.dumps(self.model_dump(mode="json", exclude=unset), indent=2) + "\n")


def _must_be_an_address(name: str, address: object, *, is_production: bool) -> None:
    """Production talks to vendors over TLS, never to a mock or this machine (EN-05).

    :raises BadSettings: it does not, or what stands there is no address, or has credentials in it
    """
    try:
        url = urlsplit(str(address))
        host, _port = url.hostname, url.port
    except ValueError:
        raise BadSettings(f"{name} is no address") from None
    if not host or url.scheme not in ("http", "https", "smtp"):
        raise BadSettings(f"{name} is no address")
    if "@" in url.netloc:
        raise BadSettings(f"{name} must not carry credentials: they come from the vault")
    if is_production and (url.scheme == "http" or _is_this_machine(host)):
        raise BadSettings(f"{name} points at a mock in production")


def _is_this_machine(host: str) -> bool:
    """By every name that it has of itself (RFC 6761 §6.3, RFC 1122 §3.2.1.3). Nothing is looked up."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        number = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(number, "ipv4_mapped", None) or number
    return bool(mapped.is_loopback or mapped.is_unspecified)
