"""The texts: genesis, who may connect and send, one configuration per node, and a compose file to start them."""

from __future__ import annotations

import json
from typing import Any, Final

from fintokenx.adapters.chain.bft import Consensus, genesis_extra_data
from fintokenx.adapters.chain.network.plan import Plan, Validator

MIX_HASH: Final = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
"""By this Besu knows a BFT block (BftHelpers.EXPECTED_MIX_HASH)."""
BATCH_REQUESTS_MAX: Final = 1024
PENDING_BY_SENDER_MAX: Final = 200
_MADE = "# Made by `fintokenx chain genesis`; change network.toml and run it again."
_CONFIG = "/etc/besu"
_SECRETS = "/run/secrets"


def generate(plan: Plan) -> dict[str, str]:
    """Path → text of every file. The same plan gives the same bytes."""
    files = {
        "genesis.json": _json(_genesis(plan)),
        "static-nodes.json": _json([node.enode for node in plan.validators]),
        "permissions_config.toml": _permissions(plan),
        "known-clients.txt": "".join(f"{client.common_name} {client.fingerprint}\n" for client in plan.clients),
        "compose.yaml": _compose(plan),
    }
    return files | {f"nodes/{node.name}/config.toml": _config(plan, node) for node in plan.validators}


def _genesis(plan: Plan) -> dict[str, Any]:
    addresses = [bytes.fromhex(node.address[2:]) for node in plan.validators]
    return {
        "config": {
            "chainId": plan.chain_id,
            "berlinBlock": 0,
            "londonBlock": 0,
            "shanghaiTime": 0,
            "zeroBaseFee": True,
            "contractSizeLimit": 24_576,
            plan.consensus.value: {
                "blockperiodseconds": plan.block_period_seconds,
                "epochlength": plan.epoch_length_blocks,
                "requesttimeoutseconds": plan.request_timeout_seconds,
            },
        },
        "nonce": "0x0",
        "timestamp": "0x0",
        "gasLimit": hex(plan.gas_limit),
        "baseFeePerGas": "0x0",  # Besu would start from 1 gwei (GenesisConfig.getGenesisBaseFeePerGas)
        "difficulty": "0x1",
        "mixHash": MIX_HASH,
        "coinbase": "0x" + "00" * 20,
        "extraData": "0x" + genesis_extra_data(plan.consensus, addresses).hex(),
        "alloc": {},
    }


def _permissions(plan: Plan) -> str:
    accounts = {"accounts-allowlist": plan.accounts, "nodes-allowlist": [node.enode for node in plan.validators]}
    return _MADE + "\n" + "".join(f"{name}={_toml(values)}\n" for name, values in accounts.items())


def _config(plan: Plan, node: Validator) -> str:
    api = "IBFT" if plan.consensus is Consensus.IBFT2 else "QBFT"
    sections: dict[str, dict[str, object]] = {
        f"{node.name} of {node.organisation}": {
            "data-path": "/var/lib/besu",
            "genesis-file": f"{_CONFIG}/genesis.json",
            "node-private-key-file": f"{_SECRETS}/node.key",
            "sync-mode": "FULL",
            "data-storage-format": "FOREST",
            "revert-reason-enabled": True,
        },
        "Peers: the validators and nobody else": {
            "p2p-host": node.host,
            "p2p-port": node.p2p_port,
            "discovery-enabled": False,
            "static-nodes-file": f"{_CONFIG}/static-nodes.json",
            "permissions-nodes-config-file-enabled": True,
            "permissions-nodes-config-file": f"{_CONFIG}/permissions_config.toml",
            "permissions-accounts-config-file-enabled": True,
            "permissions-accounts-config-file": f"{_CONFIG}/permissions_config.toml",
        },
        "JSON-RPC: known client certificates only (CH-03)": {
            "rpc-http-enabled": True,
            "rpc-http-host": "0.0.0.0",  # noqa: S104 — inside of the container; compose publishes it to this machine
            "rpc-http-port": node.rpc_port,
            "rpc-http-api": ["ETH", "NET", "WEB3", "TXPOOL", api],
            "host-allowlist": [node.host, "localhost", "127.0.0.1"],
            "rpc-http-max-batch-size": BATCH_REQUESTS_MAX,
            "rpc-http-tls-enabled": True,
            "rpc-http-tls-keystore-file": f"{_SECRETS}/rpc.p12",
            "rpc-http-tls-keystore-password-file": f"{_SECRETS}/rpc.password",
            "rpc-http-tls-client-auth-enabled": True,
            "rpc-http-tls-known-clients-file": f"{_CONFIG}/known-clients.txt",
            "rpc-http-tls-protocols": ["TLSv1.3"],
        },
        "Gas is free (TK-15)": {
            "min-gas-price": 0,
            "tx-pool": "layered",
            "tx-pool-max-future-by-sender": PENDING_BY_SENDER_MAX,
        },
    }
    texts = [
        f"\n# {title}\n" + "".join(f"{name}={_toml(value)}\n" for name, value in options.items())
        for title, options in sections.items()
    ]
    return _MADE + "\n" + "".join(texts)


def _compose(plan: Plan) -> str:
    """As JSON, which is YAML: one writer less to trust. Secrets come from a folder that is never committed."""
    shared = ("genesis.json", "static-nodes.json", "permissions_config.toml", "known-clients.txt")
    services = {
        node.name: {
            "image": plan.besu_image,
            "command": [f"--config-file={_CONFIG}/config.toml"],
            "restart": "unless-stopped",
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108 — Besu's pid file, in the container
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "networks": {"validators": {"ipv4_address": node.host}},
            "ports": [f"127.0.0.1:{node.rpc_port}:{node.rpc_port}"],
            "volumes": [
                *(f"./{name}:{_CONFIG}/{name}:ro" for name in shared),
                f"./nodes/{node.name}/config.toml:{_CONFIG}/config.toml:ro",
                f"./secrets/{node.name}:{_SECRETS}:ro",
                f"{node.name}:/var/lib/besu",
            ],
        }
        for node in plan.validators
    }
    content = {
        "name": plan.name,
        "services": services,
        "networks": {"validators": {"ipam": {"config": [{"subnet": plan.subnet}]}}},
        "volumes": {node.name: {} for node in plan.validators},
    }
    return _MADE + "\n" + _json(content)


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _toml(value: object) -> str:
    """Strings here hold no character that JSON and TOML write differently: the plan's patterns see to it."""
    if isinstance(value, list):
        return "[" + "".join(f"\n  {json.dumps(item)}," for item in value) + "\n]"
    return json.dumps(value)
