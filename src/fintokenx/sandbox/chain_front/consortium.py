"""Who takes part: read from the very files that Besu would read (`fintokenx chain genesis` writes them)."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_utils.conversions import to_bytes
from eth_utils.crypto import keccak

_ENODE: Final = "enode://"


@dataclass(frozen=True, slots=True)
class Member:
    """A validator. ``address`` is lower-case, as Besu's RPC writes it."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Consortium:
    """The validators in the order of static-nodes.json, who may send, and which clients may call."""

    members: tuple[Member, ...]
    senders: frozenset[str]
    """Addresses in lower case."""
    known_clients: str
    """The text of Besu's known-clients file."""

    @property
    def quorum(self) -> int:
        """How many must be up for blocks to come: two thirds, rounded up; 5 of 7 (CH-01)."""
        return -(-2 * len(self.members) // 3)

    @property
    def addresses(self) -> list[str]:
        """The validators as a header lists them: ascending."""
        return sorted(member.address for member in self.members)

    @classmethod
    def read(cls, folder: Path) -> Consortium:
        """:raises OSError, ValueError, KeyError: a file is missing or is not what Besu would read"""
        names = {}
        for config in folder.glob("nodes/*/config.toml"):
            options = tomllib.loads(config.read_text("utf-8"))
            names[f"{options['p2p-host']}:{options['p2p-port']}"] = config.parent.name
        members = []
        for enode in json.loads((folder / "static-nodes.json").read_text("utf-8")):
            public_key, place = enode.removeprefix(_ENODE).split("@")
            members.append(Member(names[place], "0x" + keccak(to_bytes(hexstr=public_key))[-20:].hex()))
        permissions = tomllib.loads((folder / "permissions_config.toml").read_text("utf-8"))
        senders = frozenset(account.lower() for account in permissions["accounts-allowlist"])
        return cls(tuple(members), senders, (folder / "known-clients.txt").read_text("utf-8"))
