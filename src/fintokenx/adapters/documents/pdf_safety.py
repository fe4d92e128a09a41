"""Whether a PDF is whole, open and passive. Structure only: nothing is rendered, run or fetched.

qpdf (through pikepdf) resolves every object with recovery switched off, so what it accepts is what
every other reader sees; a file that only a lenient parser can open is refused as damaged.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pikepdf

from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    DamagedDocument,
    DocumentRefused,
    EncryptedDocument,
    FileTooLarge,
    TooManyPages,
    UnsupportedContent,
)

INVOICE_ATTACHMENTS: Final = frozenset({"factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml"})
"""Lower case; the names that Factur-X 1.0 and ZUGFeRD 2 give to the embedded invoice."""

_UNPACKED_STREAM_BYTES_MAX: Final = 32 * 1024 * 1024
_UNPACKED_BYTES_MAX: Final = 128 * 1024 * 1024
_OBJECTS_MAX: Final = 100_000
_VALUES_MAX: Final = 2_000_000

_FORBIDDEN_KEYS: Final = frozenset({"/JS", "/JavaScript", "/AA", "/XFA", "/RichMediaContent", "/RichMediaSettings"})
_FORBIDDEN_ACTIONS: Final = frozenset(
    {
        "/JavaScript",
        "/Launch",
        "/SubmitForm",
        "/ImportData",
        "/ResetForm",
        "/GoToR",
        "/GoToE",
        "/GoTo3DView",
        "/Rendition",
        "/RichMediaExecute",
        "/Movie",
        "/Sound",
        "/Trans",
        "/SetOCGState",
        "/Hide",
    }
)
_FORBIDDEN_ANNOTATIONS: Final = frozenset({"/RichMedia", "/Screen", "/Movie", "/Sound", "/3D", "/FileAttachment"})
_IMAGE_FILTERS: Final = frozenset({"/DCTDecode", "/DCT", "/JPXDecode", "/JBIG2Decode", "/CCITTFaxDecode", "/CCF"})
_TEXT_FILTERS: Final = frozenset(
    {"/FlateDecode", "/Fl", "/ASCII85Decode", "/A85", "/ASCIIHexDecode", "/AHx", "/RunLengthDecode", "/RL"}
)


@dataclass(frozen=True, slots=True)
class SafePdf:
    """What passed. ``invoice_xml`` is the embedded Factur-X/ZUGFeRD invoice, None where there is none."""

    invoice_xml: bytes | None


def check_pdf(content: bytes, *, pages_max: int, xml_bytes_max: int) -> SafePdf:
    """Accept a PDF that is whole, open, passive and of bounded size.

    :raises EncryptedDocument: encrypted, even with an empty password that opens it for anybody
    :raises DamagedDocument: truncated, inconsistent, or not readable without guessing
    :raises TooManyPages: more than ``pages_max``
    :raises ActiveContent: scripts, actions beyond plain links, forms that submit, attachments
    :raises FileTooLarge: it unpacks to more than an invoice needs
    :raises UnsupportedContent: streams packed in ways that we do not unpack
    """
    _check_tail(content)
    _bound_qpdf()
    try:
        with pikepdf.open(io.BytesIO(content), attempt_recovery=False, suppress_warnings=True) as pdf:
            return _check(pdf, pages_max=pages_max, xml_bytes_max=xml_bytes_max)
    except pikepdf.PasswordError as error:
        raise EncryptedDocument("encrypted") from error
    except DocumentRefused:
        raise
    except (pikepdf.PdfError, pikepdf.ForeignObjectError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedDocument("the structure cannot be read") from error
    except (RuntimeError, OverflowError, RecursionError, MemoryError) as error:
        raise DamagedDocument("the structure cannot be read") from error


def _bound_qpdf() -> None:
    """Process-wide and idempotent; qpdf has no limits of its own for these."""
    pikepdf.settings.set_qpdf_limits(
        flate_max_memory=_UNPACKED_STREAM_BYTES_MAX,
        png_max_memory=_UNPACKED_STREAM_BYTES_MAX,
        tiff_max_memory=_UNPACKED_STREAM_BYTES_MAX,
        run_length_max_memory=_UNPACKED_STREAM_BYTES_MAX,
        max_stream_filters=4,
        parser_max_nesting=100,
        doc_max_warnings=1,
    )


def _check_tail(content: bytes) -> None:
    """A whole PDF ends in ``%%EOF``; anything after it would be a second file in disguise."""
    end = content.rfind(b"%%EOF")
    if end < 0 or content[end + 5 :].strip(b"\r\n\t \x00"):
        raise DamagedDocument("no end-of-file mark where the file ends")


def _check(pdf: pikepdf.Pdf, *, pages_max: int, xml_bytes_max: int) -> SafePdf:
    if pdf.is_encrypted:
        raise EncryptedDocument("encrypted")
    pages = len(pdf.pages)
    if pages > pages_max:
        raise TooManyPages(f"{pages} pages; at most {pages_max}")
    if not pages:
        raise DamagedDocument("no pages")
    _check_open_action(pdf)
    _check_values(pdf)
    _check_streams(pdf)
    if pdf.get_warnings():
        raise DamagedDocument("the structure is inconsistent")
    return SafePdf(invoice_xml=_invoice_xml(pdf, xml_bytes_max))


def _check_open_action(pdf: pikepdf.Pdf) -> None:
    """On opening, a document may move to a place in itself and do nothing else."""
    action = pdf.Root.get("/OpenAction")
    if isinstance(action, pikepdf.Dictionary) and (str(action.get("/S")) != "/GoTo" or "/Next" in action):
        raise ActiveContent("does something when it is opened")


def _check_values(pdf: pikepdf.Pdf) -> None:
    """Every dictionary of every object, reachable or not."""
    if len(pdf.objects) > _OBJECTS_MAX:
        raise FileTooLarge("more objects than an invoice needs")
    for dictionary in _dictionaries(pdf):
        for key in dictionary.keys() & _FORBIDDEN_KEYS:
            raise ActiveContent(f"carries {key}")
        action = dictionary.get("/S")
        if isinstance(action, pikepdf.Name) and str(action) in _FORBIDDEN_ACTIONS:
            raise ActiveContent(f"carries a {str(action)[1:]} action")
        annotation = dictionary.get("/Subtype")
        if isinstance(annotation, pikepdf.Name) and str(annotation) in _FORBIDDEN_ANNOTATIONS:
            raise ActiveContent(f"carries a {str(annotation)[1:]} annotation")


def _dictionaries(pdf: pikepdf.Pdf) -> Iterator[Any]:
    """Direct dictionaries too; indirect ones are met once, in the object table."""
    seen = 0
    for top in pdf.objects:
        pending: list[Any] = [top]
        while pending:
            value = pending.pop()
            seen += 1
            if seen > _VALUES_MAX:
                raise FileTooLarge("more values than an invoice needs")
            if isinstance(value, (pikepdf.Dictionary, pikepdf.Stream)):
                yield value
                pending.extend(each for _, each in value.items() if _is_direct_container(each))
            elif isinstance(value, pikepdf.Array):
                pending.extend(each for each in value if _is_direct_container(each))


def _is_direct_container(value: Any) -> bool:
    return isinstance(value, (pikepdf.Dictionary, pikepdf.Array)) and not value.is_indirect


def _check_streams(pdf: pikepdf.Pdf) -> None:
    """Unpack everything but pictures (which the reader never unpacks) within a budget."""
    unpacked = 0
    for stream in pdf.objects:
        if not isinstance(stream, pikepdf.Stream):
            continue
        filters = _filters(stream)
        if filters & _IMAGE_FILTERS:
            if str(stream.get("/Subtype")) != "/Image":
                raise UnsupportedContent("text packed as a picture")
            continue
        if filters - _TEXT_FILTERS:
            raise UnsupportedContent("a stream packed in a way that we do not unpack")
        if str(stream.get("/Subtype")) == "/Image":
            continue
        try:
            unpacked += len(stream.read_bytes())
        except pikepdf.PdfError as error:
            if "limit exceeded" in str(error):  # qpdf has no type of its own for this
                raise FileTooLarge("a stream unpacks to more than an invoice needs") from error
            raise
        if unpacked > _UNPACKED_BYTES_MAX:
            raise FileTooLarge("it unpacks to more than an invoice needs")


def _filters(stream: pikepdf.Stream) -> set[str]:
    filters: Any = stream.get("/Filter")
    if filters is None:
        return set()
    return {str(each) for each in filters} if isinstance(filters, pikepdf.Array) else {str(filters)}


def _invoice_xml(pdf: pikepdf.Pdf, xml_bytes_max: int) -> bytes | None:
    """The only attachment that a PDF may have, wherever it hangs (name tree, /AF, an annotation)."""
    specs = [each for each in _dictionaries(pdf) if "/EF" in each]
    files = [each for each in pdf.objects if isinstance(each, pikepdf.Stream) and each.get("/Type") == "/EmbeddedFile"]
    if not specs and not files:
        return None
    if len(specs) != 1 or len(files) > 1:
        raise ActiveContent("carries more than one attachment")
    (spec,) = specs
    names = {str(spec[key]).lower() for key in ("/F", "/UF") if key in spec}
    streams = {spec.EF[key].objgen: spec.EF[key] for key in spec.EF.keys()}  # noqa: SIM118 (not a dict)
    if not names or not names <= INVOICE_ATTACHMENTS or len(streams) != 1:
        raise ActiveContent("carries an attachment that is not an electronic invoice")
    (stream,) = streams.values()
    if files and files[0].objgen != stream.objgen:
        raise ActiveContent("carries more than one attachment")
    invoice_xml = bytes(stream.read_bytes())
    if len(invoice_xml) > xml_bytes_max:
        raise FileTooLarge(f"embedded XML larger than {xml_bytes_max} bytes")
    return invoice_xml
