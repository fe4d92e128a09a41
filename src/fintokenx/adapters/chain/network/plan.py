"""What people decide about a network: who validates and where, who may send, who may ask."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Self

from coincurve import PublicKey
from eth_utils.address import is_checksum_address
from eth_utils.conversions import to_bytes
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fintokenx.adapters.chain.bft import Consensus
from fintokenx.adapters.chain.signing import address_of
from fintokenx.kernel.errors import Refused

VALIDATORS_MIN: Final = 4
_PUBLIC_KEY = re.compile(r"0x[0-9a-f]{128}")
_NAME = r"^[a-z][a-z0-9-]{0,30}$"
_FINGERPRINT = r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$"
_PRIVATE = ("private", "secret", "password", "mnemonic")


class BadPlan(Refused):
    """The plan of the network does not make sense."""

    code = "BAD_NETWORK_PLAN"
    status = 422


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Validator(_Strict):
    """A node that seals blocks: the public half of its key, its address, and where the others reach it."""

    name: Annotated[str, Field(pattern=_NAME)]
    organisation: Annotated[str, Field(pattern=r"^[\w .&-]{1,60}$")]
    public_key: str
    address: str
    host: str
    p2p_port: Annotated[int, Field(ge=1, le=65535)] = 30303
    rpc_port: Annotated[int, Field(ge=1, le=65535)] = 8545

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _must_be_address(self.address)
        if not _PUBLIC_KEY.fullmatch(self.public_key):
            raise ValueError("public_key is 0x and 128 lower-case hexadecimal digits")
        uncompressed = b"\x04" + to_bytes(hexstr=self.public_key)
        try:
            PublicKey(uncompressed)
        except ValueError:
            raise ValueError("public_key is no point of secp256k1") from None
        if address_of(uncompressed) != self.address:
            raise ValueError(f"address is not that of public_key, which is {address_of(uncompressed)}")
        try:
            found = ipaddress.ip_address(self.host)
        except ValueError:
            raise ValueError("host is an IP address: Besu reads host names in enodes only experimentally") from None
        if found.version != 4 or found.is_unspecified or found.is_multicast:
            raise ValueError("host is not the IPv4 address of one machine")
        return self

    @property
    def enode(self) -> str:
        """Where and who the node is, as other nodes name it."""
        return f"enode://{self.public_key[2:]}@{self.host}:{self.p2p_port}"


class Client(_Strict):
    """A certificate that may call JSON-RPC: its common name and SHA-256 fingerprint."""

    common_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")]
    fingerprint: Annotated[str, Field(pattern=_FINGERPRINT)]


class Plan(_Strict):
    """A whole network. Times are the requirements' (CH-02): a block each 2 s, a round given up after 4 s."""

    name: Annotated[str, Field(pattern=_NAME)]
    chain_id: Annotated[int, Field(ge=1, le=(1 << 53) - 1)]
    consensus: Annotated[Consensus, Field(strict=False)] = Consensus.IBFT2
    block_period_seconds: Annotated[int, Field(ge=1, le=60)] = 2
    request_timeout_seconds: Annotated[int, Field(ge=2, le=600)] = 4
    epoch_length_blocks: Annotated[int, Field(ge=1)] = 30_000
    gas_limit: Annotated[int, Field(ge=5_000_000, le=(1 << 53) - 1)] = 30_000_000
    besu_image: Annotated[str, Field(pattern=r"^[a-z0-9./-]+:[0-9][\w.-]*$")] = "hyperledger/besu:26.3.0"
    subnet: str
    accounts: list[str]
    validators: list[Validator]
    clients: list[Client]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.validators) < VALIDATORS_MIN:
            raise ValueError(f"{len(self.validators)} validators: fewer than {VALIDATORS_MIN} survive no fault at all")
        _must_differ("validators' names", (node.name for node in self.validators))
        _must_differ("validators' addresses", (node.address for node in self.validators))
        _must_differ("validators' hosts", (node.host for node in self.validators))
        _must_differ("validators' RPC ports", (str(node.rpc_port) for node in self.validators))
        if not self.accounts:
            raise ValueError("accounts is empty: nobody could send a transaction")
        for account in self.accounts:
            _must_be_address(account)
        _must_differ("accounts", self.accounts)
        if not self.clients:
            raise ValueError("clients is empty: nobody could call a node")
        _must_differ("clients' fingerprints", (client.fingerprint for client in self.clients))
        if self.request_timeout_seconds <= self.block_period_seconds:
            raise ValueError("request_timeout_seconds must exceed block_period_seconds, or rounds change for ever")
        try:
            subnet = ipaddress.ip_network(self.subnet)
        except ValueError:
            raise ValueError("subnet is no network such as 10.77.0.0/24") from None
        outside = [node.host for node in self.validators if ipaddress.ip_address(node.host) not in subnet]
        if outside:
            raise ValueError(f"hosts outside of subnet: {', '.join(outside)}")
        return self


def read(text: str, consensus: Consensus | None = None) -> Plan:
    """The plan in a TOML text, with another ``consensus`` where one is given. :raises BadPlan: saying what and where"""
    try:
        content = tomllib.loads(text)
        if consensus is not None:
            content["consensus"] = consensus
        return Plan.model_validate(content)
    except tomllib.TOMLDecodeError as fault:
        raise BadPlan(f"not TOML: {fault}") from None
    except ValidationError as fault:
        raise BadPlan("; ".join(_said(error["loc"], error["msg"]) for error in fault.errors())) from None


def _said(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, place)) or "the network"
    if any(word in where.lower() for word in _PRIVATE):
        return f"{where}: a plan holds public keys only; take it out and treat the key as lost"
    return f"{where}: {message.removeprefix('Value error, ')}"


def _must_be_address(text: str) -> None:
    if not is_checksum_address(text):
        raise ValueError(f"{text} is no address with its checksum (EIP-55)")


def _must_differ(what: str, values: Iterable[str]) -> None:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise ValueError(f"{what} must differ; twice: {', '.join(twice)}")
