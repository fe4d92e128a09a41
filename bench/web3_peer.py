"""web3.py 8 in a process of its own, as its documentation uses it: one call after the other over HTTP.

Run by ``bench.web3_side`` with the node's address; takes a JSON command a line, answers with a JSON line that holds the
seconds of the work alone. Imports and connecting come before.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from eth_account import Account
from web3 import HTTPProvider, Web3

_POLL_SECONDS = 0.005
"""web3's own default is 0.1 s, which would make it wait longer than the chain does."""


def main() -> None:
    """Answer until the input ends."""
    web3 = Web3(HTTPProvider(sys.argv[1]))
    print(json.dumps({"chain_id": web3.eth.chain_id}), flush=True)
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        if command["do"] == "send":
            raws = [bytes.fromhex(raw) for raw in command["raws"]]
            begun = time.perf_counter()
            for raw in raws:
                web3.eth.send_raw_transaction(raw)
        elif command["do"] == "read":
            begun = time.perf_counter()
            for tx_hash in command["hashes"]:
                web3.eth.get_transaction_receipt(tx_hash)
        else:
            begun = time.perf_counter()
            for transaction in command["transactions"]:
                signed = Account.sign_transaction(transaction, command["key"])
                tx_hash = web3.eth.send_raw_transaction(signed.raw_transaction)
                web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=_POLL_SECONDS)
        print(json.dumps({"seconds": time.perf_counter() - begun}), flush=True)


if __name__ == "__main__":
    main()
