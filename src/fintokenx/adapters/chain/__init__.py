"""The FinToken X Network: one client for tokens and anchors, and the deployment of the contracts."""

from fintokenx.adapters.chain.anchors import AnchorClient
from fintokenx.adapters.chain.client import ChainClient
from fintokenx.adapters.chain.deployment import MINTING_WALLET, Deployment, deploy
from fintokenx.adapters.chain.history import HistoryClient
from fintokenx.adapters.chain.rpc import Rpc
from fintokenx.adapters.chain.state import StateClient
from fintokenx.adapters.chain.tls import client_context

__all__ = [
    "MINTING_WALLET",
    "AnchorClient",
    "ChainClient",
    "Deployment",
    "HistoryClient",
    "Rpc",
    "StateClient",
    "client_context",
    "deploy",
]
