"""The front: a node for each member, their switches, and blocks only while a quorum of them is up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from fintokenx.kernel.clock import Instant
from fintokenx.sandbox.anvil import ChainControl
from fintokenx.sandbox.chain_front.certificates import known_clients_only, listed, self_signed
from fintokenx.sandbox.chain_front.consortium import Consortium, Member
from fintokenx.sandbox.chain_front.ibft import Turns
from fintokenx.sandbox.chain_front.node import Node
from fintokenx.sandbox.chain_front.relay import Relay


class UnknownNode(KeyError):
    """No member has this name."""


class ChainFront:
    """Seven nodes (or as many as the consortium has) over one anvil that makes its own blocks.

    Its switches are methods; call them from the event loop that runs it. ``authorities`` is the file of the nodes'
    certificates (PEM), which a client must trust.
    """

    def __init__(
        self, control: ChainControl, quorum: int, nodes: Sequence[Node], turns: Turns, authorities: Path
    ) -> None:
        self.authorities = authorities
        self._control = control
        self._quorum = quorum
        self._nodes = {node.member.name: node for node in nodes}
        self._turns = turns
        self._switching = asyncio.Lock()
        self._halted = False

    @property
    def urls(self) -> tuple[str, ...]:
        """The nodes' addresses in the consortium's order."""
        return tuple(node.url for node in self._nodes.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names in the same order."""
        return tuple(self._nodes)

    @property
    def up(self) -> tuple[Member, ...]:
        """Who takes connections."""
        return tuple(node.member for node in self._nodes.values() if node.is_up)

    @property
    def has_quorum(self) -> bool:
        """Whether so many are up that blocks come."""
        return len(self.up) >= self._quorum

    async def switch_off(self, *names: str) -> None:
        """Close the ports of these nodes; connections that there are break. Below the quorum blocks stop.

        :raises UnknownNode: there is none of this name
        :raises Unavailable: anvil does not answer
        """
        async with self._switching:
            for node in self._named(names):
                await node.close()
            await self._balance()

    async def switch_on(self, *names: str) -> None:
        """Open them again, on the same ports. With a quorum blocks go on, and what waited goes into them.

        :raises UnknownNode: there is none of this name
        :raises Unavailable: anvil does not answer
        """
        async with self._switching:
            for node in self._named(names):
                await node.open()
            await self._balance()

    def lose_answers(self, name: str, times: int = 1) -> None:
        """Process the next transactions that this node is sent, and break the connection in place of an answer.

        :raises UnknownNode: there is none of this name
        """
        self._named([name])[0].losing = times

    def slow_down(self, name: str, seconds: float) -> None:
        """Process at once, answer so many seconds later; 0 ends it.

        :raises UnknownNode: there is none of this name
        """
        self._named([name])[0].slow_seconds = seconds

    async def _balance(self) -> None:
        """Blocks come if, and only if, there is a quorum. This is all of consensus that the front has."""
        self._turns.changed((await self._control.head()).number + 1, self.up)
        if self._halted != self.has_quorum:
            return
        await (self._control.resume() if self._halted else self._control.pause())
        self._halted = not self._halted

    def _named(self, names: Sequence[str]) -> list[Node]:
        if unknown := [name for name in names if name not in self._nodes]:
            raise UnknownNode(unknown[0])
        return [self._nodes[name] for name in names]

    @classmethod
    @contextlib.asynccontextmanager
    async def over(
        cls,
        control: ChainControl,
        consortium: Consortium,
        *,
        client_certificates: Sequence[str],
        folder: Path,
        now: Instant,
    ) -> AsyncIterator[ChainFront]:
        """Run a front over a running anvil, with fresh certificates for the nodes in ``folder``.

        ``client_certificates`` (PEM) are those that clients may show; only the ones that the consortium's
        known-clients file lists are let in. ``now`` is the machine's time.

        :raises Unavailable: anvil does not answer
        """
        turns = Turns(consortium.members)
        relay = Relay(control.rpc_url, consortium, turns)
        known = listed(consortium.known_clients, client_certificates)
        nodes: list[Node] = []

        def peers() -> int:
            return max(0, sum(node.is_up for node in nodes) - 1)

        shown = []
        for member in consortium.members:
            certificate = self_signed(member.name, now)
            shown.append(certificate.pem)
            nodes.append(Node(member, relay, known_clients_only(*certificate.save(folder), known), peers))
        authorities = folder / "nodes.crt"
        authorities.write_text("".join(shown))
        front = cls(control, consortium.quorum, nodes, turns, authorities)
        try:
            await front.switch_on(*front.names)
            yield front
        finally:
            for node in nodes:
                await node.end()
            await relay.aclose()
