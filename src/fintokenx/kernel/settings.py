"""Settings of one running platform. No credential has a field here: those are fetched from the vault (P-19, P-20)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between two installations. Addresses and names only, never a secret."""

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
    sumsub_url: str
    complyadvantage_url: str
    bank_url: str
    open_banking_url: str
    smtp_host: str
    smtp_port: int
    chain_authorities: str = ""
    """Path of the certificates (PEM) by which the nodes are known; empty = those that this machine trusts."""
    chain_client_certificate: str = ""
    """Path of the certificate (PEM) by which the nodes know us; empty = none is shown. Its key is in the vault."""
    log_origin: str = "log.fintokenx.example/local"
    """The name under which the open log signs its checkpoints: for ever the same, and nobody else's."""
    sandbox_clock: str = ""
    """Path of the shared sandbox clock; empty = the machine's clock."""
    sandbox_control_urls: dict[str, str] = field(default_factory=dict)
    """Where each mock server's control endpoint is, by provider name."""

    def __post_init__(self) -> None:
        if self.environment is Environment.PRODUCTION:
            self._refuse_mocks()
        if not self.environment.has_sandbox_controls and (self.sandbox_clock or self.sandbox_control_urls):
            raise BadSettings(f"sandbox controls are set in {self.environment}")
        if self.vault.startswith("file:") and self.environment is not Environment.LOCAL:
            raise BadSettings("the file vault is for local only")
        if not is_key_name(self.log_origin):
            raise BadSettings("log_origin must be a name without white space and plus signs")
        in_the_clear = [url for url in self.chain_rpc_urls if urlsplit(url).scheme != "https"]
        if in_the_clear and (self.chain_authorities or self.chain_client_certificate):
            raise BadSettings("chain_rpc_urls must all be https where certificates for them are set")
        address = urlsplit(self.database_url)
        if "@" in address.netloc or "password" in address.query or "user" in address.query:
            raise BadSettings("database_url must not carry credentials: they come from the vault")

    def _refuse_mocks(self) -> None:
        """Production talks to vendors over TLS, never to a mock or this machine (EN-05)."""
        for name in ("sumsub_url", "complyadvantage_url", "bank_url", "open_banking_url"):
            url = urlsplit(getattr(self, name))
            if url.scheme != "https" or url.hostname in ("localhost", "127.0.0.1", "::1"):
                raise BadSettings(f"{name} points at a mock in production")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read the JSON file. :raises BadSettings: unreadable, an unknown or a missing key"""
        try:
            raw: dict[str, Any] = json.loads(path.read_text())
            known = {f.name for f in fields(cls)}
            if unknown := sorted(set(raw) - known):
                raise BadSettings(f"unknown settings: {', '.join(unknown)}")
            raw["environment"] = Environment(raw["environment"])
            raw["chain_rpc_urls"] = tuple(raw["chain_rpc_urls"])
            return cls(**raw)
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise BadSettings(f"{path.name}: {fault}") from fault

    def save(self, path: Path) -> None:
        """Write the JSON file that :meth:`load` reads."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        path.write_text(json.dumps(values, indent=2, default=str) + "\n")
