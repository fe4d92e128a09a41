"""The process behind `IsolatedReader`: reads a document and says what it makes of it, as JSON."""

from __future__ import annotations

import codecs
import contextlib
import sys
from collections.abc import Callable
from typing import Final

from fintokenx.adapters.documents import fork_server
from fintokenx.adapters.documents.confined import Answerer, work
from fintokenx.adapters.documents.isolated import ANSWER, ORDER, Answer, Order
from fintokenx.adapters.documents.reader import TextReader
from fintokenx.lifecycle.invoice.ports import DamagedDocument, DocumentRefused

# Python loads a codec from its file when it is first used, and the process of a document can open none.
_CODECS: Final = (
    *("ascii", "latin-1", "cp1252", "utf-7", "utf-8", "utf-8-sig", "idna", "unicode-escape"),
    *("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"),
)
for _codec in _CODECS:
    codecs.lookup(_codec)


def answer(order: bytes, content: bytes) -> bytes:
    """Do what the order says."""
    return ANSWER.dump_json(_answer(ORDER.validate_json(order), content))


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


def rehearse() -> None:
    """Read a page of our own, so that what a first reading sets up is there before a document's process is forked."""
    with contextlib.suppress(DocumentRefused):
        TextReader().read(_page("Invoice date: 1 June 2026"))


def _page(text: str) -> bytes:
    """A PDF of one page and one line."""
    drawn = b"BT /F 9 Tf 40 700 Td (" + text.encode("latin-1") + b") Tj ET"
    parts = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 595 842]>>",
        b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    )
    pdf, table = b"%PDF-1.4\n", b"xref\n0 6\n0000000000 65535 f \n"
    for number, part in enumerate(parts, 1):
        table += b"%010d 00000 n \n" % len(pdf)
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    return pdf + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(pdf)


def main(answerer: Answerer, prepare: Callable[[], None] = lambda: None) -> None:
    """Be what the command line says: ``server``, or the process of ``one`` document. The socket is standard input."""
    if sys.argv[1] == "server":
        prepare()
        fork_server.serve(answerer)
    else:
        work(fork_server.CONTROL, answerer)


if __name__ == "__main__":
    main(answer, rehearse)
