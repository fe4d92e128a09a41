"""The files of a Besu network, computed from its plan: nothing random, no key but public ones."""

from fintokenx.adapters.chain.network.files import generate
from fintokenx.adapters.chain.network.plan import BadPlan, Plan, read

__all__ = ["BadPlan", "Plan", "generate", "read"]
