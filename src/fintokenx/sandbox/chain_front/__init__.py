"""A front over one anvil that looks like a consortium of Besu nodes; it is no consensus.

Each node has a port of its own that speaks JSON-RPC over TLS to known client certificates only, refuses senders that
are not permitted, nonces that are too far ahead and batches that are too large, and can be switched off, made slow or
made to lose an answer. With fewer nodes up than the quorum the front stops anvil's blocks. So clients can be tried:
failover, certificates, a halt. Nothing here votes, seals or gossips: all nodes show the one chain of the one anvil,
whose headers carry no seals. What Besu itself does with these files nobody has tried (deploy/besu/README.md).
"""

from fintokenx.sandbox.chain_front.certificates import Certificate, self_signed
from fintokenx.sandbox.chain_front.consortium import Consortium, Member
from fintokenx.sandbox.chain_front.front import ChainFront, UnknownNode

__all__ = ["Certificate", "ChainFront", "Consortium", "Member", "UnknownNode", "self_signed"]
