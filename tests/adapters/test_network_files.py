"""The network's files from its plan: the committed example, Besu's vectors, and plans that make no sense."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from coincurve import PrivateKey
from typer.testing import CliRunner

from fintokenx.adapters.chain.bft import Consensus, decode, genesis_extra_data
from fintokenx.adapters.chain.network import BadPlan, generate, read
from fintokenx.adapters.chain.signing import address_of
from fintokenx.app.cli import app

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "besu"
PLAN = (DEPLOY / "network.toml").read_text("utf-8")
BY_HAND = {"README.md", "network.toml"}
BESU_OPTIONS = {
    # of hyperledger/besu at 3fd224e, app/src/test/resources/everything_config.toml («every possible CLI»)
    "data-path", "genesis-file", "node-private-key-file", "sync-mode", "data-storage-format", "revert-reason-enabled",
    "p2p-host", "p2p-port", "discovery-enabled", "static-nodes-file", "permissions-nodes-config-file-enabled",
    "permissions-nodes-config-file", "permissions-accounts-config-file-enabled", "permissions-accounts-config-file",
    "rpc-http-enabled", "rpc-http-host", "rpc-http-port", "rpc-http-api", "host-allowlist", "rpc-http-max-batch-size",
    "rpc-http-tls-enabled", "rpc-http-tls-keystore-file", "rpc-http-tls-keystore-password-file",
    "rpc-http-tls-client-auth-enabled", "rpc-http-tls-known-clients-file", "rpc-http-tls-protocols", "min-gas-price",
    "tx-pool", "tx-pool-max-future-by-sender",
}  # fmt: skip
BESU_KEYS = {
    # OperatorSubCommandTest's config_import_keys.json and the validators in the extraData it expects
    (
        "9481ee2b34196827e8c4807ae29c2675c15d3641e482ab81cc0bc3ef535755b4"
        "26b9f5c474213df28a563fab0bf0830b455ee8955b3faac93075422a6abf160d"
    ),
    (
        "f9dff57fc0bae7cba6577d82caf40cf6d266afc2a212775eb45c2188ab30aeed"
        "01e724daf4203649d4aa7e30717bfeeaf0b4c30b5d651bad39bcae8429759889"
    ),
}
_LISTED = "ea94d5feb0fc5a54a89f97aeb34c3df15397c19f6dd294d6a9a4c886eb008ac307abdc1f38745c1dd13a88"
BESU_EXTRA = {
    Consensus.IBFT2: f"f853a0{'00' * 32}{_LISTED}808400000000c0",
    Consensus.QBFT: f"f84fa0{'00' * 32}{_LISTED}c080c0",
}


def node(number: int, **changes: object) -> str:
    """A validator of the plan, as TOML."""
    public_key = PrivateKey.from_int(number).public_key.format(compressed=False)
    values: dict[str, object] = {
        "name": f"node-{number}",
        "organisation": "FinToken X",
        "public_key": "0x" + public_key[1:].hex(),
        "address": address_of(public_key),
        "host": f"10.0.0.{number}",
        "rpc_port": 8544 + number,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (values | changes).items()]
    return "\n[[validators]]\n" + "\n".join(lines) + "\n"


def plan(*nodes: str, top: str = "", **changes: object) -> str:
    values: dict[str, object] = {
        "name": "test",
        "chain_id": 7,
        "subnet": "10.0.0.0/24",
        "accounts": [address_of(PrivateKey.from_int(99).public_key.format(compressed=False))],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (values | changes).items()]
    client = '\n[[clients]]\ncommon_name = "platform"\nfingerprint = "' + ":".join(["AB"] * 32) + '"\n'
    return top + "\n".join(lines) + client + "".join(nodes or map(node, range(1, 5)))


def lowered(number: int) -> str:
    return address_of(PrivateKey.from_int(number).public_key.format(compressed=False)).lower()


def test_the_committed_example_is_what_the_command_makes(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["chain", "genesis", str(DEPLOY / "network.toml"), "--to", str(tmp_path)])
    assert done.exit_code == 0, done.output
    made = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = {
        name: path.read_bytes()
        for path in DEPLOY.rglob("*")
        if path.is_file() and (name := path.relative_to(DEPLOY).as_posix()) not in BY_HAND and "secrets/" not in name
    }
    assert made == committed
    assert sorted(made) == sorted(generate(read(PLAN)))


def test_the_example_is_seven_validators_of_three_organisations() -> None:
    organisations = [validator.organisation for validator in read(PLAN).validators]
    assert [organisations.count(name) for name in ("FinToken X", "Mercia", "Second partner")] == [3, 2, 2]
    genesis = json.loads(generate(read(PLAN))["genesis.json"])
    assert genesis["config"]["ibft2"] == {"blockperiodseconds": 2, "epochlength": 30000, "requesttimeoutseconds": 4}
    assert genesis["config"]["zeroBaseFee"] is True
    assert genesis["baseFeePerGas"] == "0x0"
    assert genesis["config"]["shanghaiTime"] == 0
    found = decode(Consensus.IBFT2, bytes.fromhex(genesis["extraData"][2:]))
    assert set(found.validators) == {bytes.fromhex(validator.address[2:]) for validator in read(PLAN).validators}
    assert list(found.validators) == sorted(found.validators)
    assert (len(found.validators), found.round, found.vote, found.seals) == (7, 0, None, ())


@pytest.mark.parametrize("consensus", list(Consensus))
def test_besus_keys_give_besus_extra_data(consensus: Consensus) -> None:
    addresses = [bytes.fromhex(address_of(bytes.fromhex("04" + key))[2:]) for key in sorted(BESU_KEYS)]
    for order in (addresses, addresses[::-1]):
        assert genesis_extra_data(consensus, order).hex() == BESU_EXTRA[consensus]


def test_one_option_makes_it_qbft(tmp_path: Path) -> None:
    arguments = ["chain", "genesis", str(DEPLOY / "network.toml"), "--to", str(tmp_path), "--consensus", "qbft"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    genesis = json.loads((tmp_path / "genesis.json").read_text())
    assert "ibft2" not in genesis["config"]
    assert genesis["config"]["qbft"]["blockperiodseconds"] == 2
    assert len(decode(Consensus.QBFT, bytes.fromhex(genesis["extraData"][2:])).validators) == 7
    differing = {name for name, text in generate(read(PLAN)).items() if (tmp_path / name).read_text() != text}
    assert differing == {"genesis.json", *(f"nodes/{node.name}/config.toml" for node in read(PLAN).validators)}
    assert "QBFT" in tomllib.loads((tmp_path / "nodes/mercia-1/config.toml").read_text())["rpc-http-api"]


def test_a_node_speaks_only_tls_to_known_clients_and_only_to_validators() -> None:
    files = generate(read(PLAN))
    enodes = json.loads(files["static-nodes.json"])
    permissions = tomllib.loads(files["permissions_config.toml"])
    assert permissions == {"accounts-allowlist": read(PLAN).accounts, "nodes-allowlist": enodes}
    assert len(set(enodes)) == 7
    for validator in read(PLAN).validators:
        config = tomllib.loads(files[f"nodes/{validator.name}/config.toml"])
        assert set(config) == BESU_OPTIONS
        assert config["rpc-http-tls-enabled"] is config["rpc-http-tls-client-auth-enabled"] is True
        assert config["permissions-nodes-config-file-enabled"] is True
        assert config["permissions-accounts-config-file-enabled"] is True
        assert config["discovery-enabled"] is False
        assert config["min-gas-price"] == 0
        # Besu refuses a trust store beside known clients (JsonRpcHttpOptionsTest), and administration stays closed.
        assert not {"ADMIN", "DEBUG", "PERM", "MINER"} & set(config["rpc-http-api"])
        assert f"enode://{validator.public_key[2:]}@{config['p2p-host']}:{config['p2p-port']}" in enodes
    assert [line.split()[0] for line in files["known-clients.txt"].splitlines()] == [
        client.common_name for client in read(PLAN).clients
    ]


def test_compose_mounts_what_each_configuration_names() -> None:
    plan_ = read(PLAN)
    files = generate(plan_)
    compose = json.loads(files["compose.yaml"].split("\n", 1)[1])
    assert set(compose["services"]) == {validator.name for validator in plan_.validators}
    for name, service in compose["services"].items():
        config = tomllib.loads(files[f"nodes/{name}/config.toml"])
        mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])
        for option, place in config.items():
            if option.endswith("-file") and not str(place).startswith("/run/secrets/"):
                assert mounts[place].removeprefix("./") in files
        assert mounts["/run/secrets"] == f"./secrets/{name}"
        assert service["networks"]["validators"]["ipv4_address"] == config["p2p-host"]
        assert service["ports"] == [f"127.0.0.1:{config['rpc-http-port']}:{config['rpc-http-port']}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (plan(*map(node, range(1, 4))), "3 validators: fewer than 4"),
        (plan(*map(node, range(1, 5)), node(4, name="copy", host="10.0.0.9", rpc_port=9)), "addresses must differ"),
        (plan(*map(node, range(1, 5)), node(5, name="node-1")), "names must differ; twice: node-1"),
        (plan(*map(node, range(1, 5)), node(5, host="10.0.0.1")), "hosts must differ; twice: 10.0.0.1"),
        (plan(*map(node, range(1, 5)), node(5, rpc_port=8545)), "RPC ports must differ; twice: 8545"),
        (plan(*map(node, range(1, 5)), node(5, address=lowered(5))), "address is not that of|checksum"),
        (plan(*map(node, range(1, 5)), node(5, address="0x" + lowered(5)[2:].upper())), "checksum"),
        (plan(node(1), node(2), node(3), node(4, address=address_of(bytes(65)))), "validators.3: address is not that"),
        (plan(node(1), node(2), node(3), node(4, public_key="0x" + "11" * 64)), "no point of secp256k1"),
        (plan(node(1), node(2), node(3), node(4, public_key="0x12")), "128 lower-case"),
        (plan(node(1), node(2), node(3), node(4, host="node-4")), "host is an IP address"),
        (plan(node(1), node(2), node(3), node(4, host="0.0.0.0")), "IPv4 address of one machine"),
        (plan(node(1), node(2), node(3), node(4, host="10.0.1.4")), "outside of subnet: 10.0.1.4"),
        (plan(node(1), node(2), node(3), node(4, private_key="0x12")), "treat the key as lost"),
        (plan(node(1), node(2), node(3), node(4, p2p_port=70000)), "validators.3.p2p_port"),
        (plan(node(1), node(2), node(3), node(4, organisation='"x\n')), "validators.3.organisation"),
        (plan(accounts=[]), "accounts is empty"),
        (plan(accounts=[lowered(9)]), "no address with its checksum"),
        (plan(accounts=[address_of(bytes(65))] * 2), "accounts must differ"),
        (plan(chain_id=0), "chain_id"),
        (plan(chain_id="7"), "chain_id"),
        (plan(consensus="clique"), "consensus"),
        (plan(subnet="10.0.0.1/24"), "subnet is no network"),
        (plan(request_timeout_seconds=2), "must exceed block_period_seconds"),
        (plan(gas_limit=1), "gas_limit"),
        (plan(besu_image="besu:latest"), "besu_image"),
        (plan(colour="red"), "colour"),
        (plan(name="Has Spaces"), "name"),
        (plan().split("[[validators]]")[0], "validators: Field required"),
        ("no = toml =", "not TOML"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_and_says_where(text: str, said: str) -> None:
    assert read(plan()).chain_id == 7
    with pytest.raises(BadPlan, match=said):
        read(text)


def test_the_command_refuses_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "network.toml"
    bad.write_text(plan(node(1)))
    for arguments, said in (
        ([str(bad)], "BAD_NETWORK_PLAN"),
        ([str(tmp_path / "none.toml")], "cannot be read"),
        ([str(bad), "--consensus", "clique"], "no such consensus"),
    ):
        done = CliRunner().invoke(app, ["chain", "genesis", *arguments, "--to", str(tmp_path / "made")])
        assert done.exit_code == 1
        assert said in done.output
        assert not (tmp_path / "made").exists()


def test_the_quorum_is_shown() -> None:
    assert "5 of 7" in CliRunner().invoke(app, ["chain", "quorum"]).output
    told = json.loads(CliRunner().invoke(app, ["chain", "quorum", "10", "--json"]).output)
    assert told == {"validators": 10, "quorum": 7, "may_be_down": 3}
