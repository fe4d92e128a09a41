"""Contracts that are written over OpenZeppelin's npm package, compiled here and now by npm's compiler."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / "node_modules"
OPENZEPPELIN = PACKAGES / "@openzeppelin/contracts"

SOURCE = """
pragma solidity ^0.8.20;
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";

contract Custodian is ERC1155Holder {
    function send(IERC1155 token, address to, uint256 id, uint256 value) external {
        token.safeTransferFrom(address(this), to, id, value, "");
    }
}

contract Deaf {}
"""


def standard_abi(name: str) -> list[dict[str, Any]]:
    """The ABI that OpenZeppelin publishes."""
    published = json.loads((OPENZEPPELIN / f"build/contracts/{name}.json").read_text())
    return list(published["abi"])


def compiled() -> dict[str, tuple[list[dict[str, Any]], str]]:
    """ABI and bytecode of Custodian and Deaf, for the EVM of our network."""
    sources: dict[str, dict[str, str]] = {}
    _gather("Receivers.sol", SOURCE, sources)
    request = {
        "language": "Solidity",
        "sources": sources,
        "settings": {
            "evmVersion": "shanghai",
            "outputSelection": {"Receivers.sol": {"*": ["abi", "evm.bytecode.object"]}},
        },
    }
    answer = subprocess.run(
        ["node", str(ROOT / "contracts/solc-native-shim.js"), "--standard-json"],
        input=json.dumps(request), capture_output=True, text=True, check=True,
    )  # fmt: skip
    output = json.loads(answer.stdout)
    faults = [each["formattedMessage"] for each in output.get("errors", []) if each["severity"] == "error"]
    assert not faults, faults
    made = output["contracts"]["Receivers.sol"]
    return {name: (made[name]["abi"], made[name]["evm"]["bytecode"]["object"]) for name in ("Custodian", "Deaf")}


def _gather(name: str, text: str, into: dict[str, dict[str, str]]) -> None:
    """A source with all that it imports."""
    into[name] = {"content": text}
    for imported in re.findall(r'^import [^"]*"([^"]+)";', text, re.MULTILINE):
        path = imported if imported.startswith("@") else _beside(name, imported)
        if path not in into:
            _gather(path, (PACKAGES / path).read_text(), into)


def _beside(name: str, relative: str) -> str:
    return str((PACKAGES / name).parent.joinpath(relative).resolve().relative_to(PACKAGES.resolve()))
