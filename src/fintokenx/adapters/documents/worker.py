"""The process behind `IsolatedReader`: one order on the command line, one document in, one JSON answer out."""

from __future__ import annotations

import resource
import sys

from fintokenx.adapters.documents.isolated import ANSWER, ORDER, Answer, Order
from fintokenx.adapters.documents.reader import TextReader
from fintokenx.lifecycle.invoice.ports import DamagedDocument, DocumentRefused


def main() -> None:
    """Confine this process, then do what the order says."""
    order = ORDER.validate_json(sys.argv[1])
    _confine(order)
    answer = _answer(order, sys.stdin.buffer.read())
    sys.stdout.buffer.write(ANSWER.dump_json(answer))


def _confine(order: Order) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, order.address_space_bytes),
        (resource.RLIMIT_CPU, order.processor_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _answer(order: Order, content: bytes) -> Answer:
    reader = TextReader(order.limits)
    try:
        if order.task == "inspect":
            return Answer(kind=reader.inspect(content))
        return Answer(reading=reader.read(content))
    except DocumentRefused as refused:
        return Answer(refused=refused.code, detail=refused.detail)
    except MemoryError:
        return Answer(refused=DamagedDocument.code, detail="it needs too much memory")


if __name__ == "__main__":
    main()
