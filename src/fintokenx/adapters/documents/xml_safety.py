"""XML without its dangers: no document type, no entities, no network, bounded size; then, which invoice is it?"""

from __future__ import annotations

import codecs
from typing import Final, Literal

from lxml import etree

from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    DamagedDocument,
    FileTooLarge,
    NotAnInvoice,
    UnsupportedContent,
)

UBL_INVOICE: Final = "{urn:oasis:names:specification:ubl:schema:xsd:Invoice-2}Invoice"
UBL_CREDIT_NOTE: Final = "{urn:oasis:names:specification:ubl:schema:xsd:CreditNote-2}CreditNote"
CII_INVOICE: Final = "{urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100}CrossIndustryInvoice"

_ENCODINGS: Final = (
    # What the first bytes say (XML 1.0, appendix F): byte order marks, then UTF-16 without one.
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip


def looks_like_xml(content: bytes) -> bool:
    """Whether the first character that is neither a byte order mark nor white space opens a tag."""
    encoding = _encoding(content)
    whole_units = content[: 128 if encoding != "utf-8" else 64]
    return whole_units.decode(encoding, errors="ignore").lstrip().startswith("<")


def xml_text(content: bytes) -> str:
    """The text of XML in UTF-8 or UTF-16, the encodings that every reader of XML must know.

    :raises UnsupportedContent: in another
    """
    encoding = _encoding(content)
    try:
        if encoding == "utf-32":
            raise ValueError
        return content.decode(encoding)
    except ValueError as error:
        raise UnsupportedContent("XML must be UTF-8 or UTF-16") from error


def parse_xml(content: bytes, *, bytes_max: int) -> etree._Element:
    """The root element of XML that has no document type declaration.

    :raises FileTooLarge: more than ``bytes_max``
    :raises ActiveContent: it declares a document type or entities
    :raises UnsupportedContent: neither UTF-8 nor UTF-16
    :raises DamagedDocument: not well formed
    """
    if len(content) > bytes_max:
        raise FileTooLarge(f"XML larger than {bytes_max} bytes")
    text = xml_text(content)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ActiveContent("XML with a document type or entities")
    parser = etree.XMLParser(
        encoding="utf-8",  # wins over the declaration, so what was searched above is what is parsed
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DamagedDocument("not well-formed XML") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise ActiveContent("XML with a document type")
    return root


def xml_kind(root: etree._Element) -> Literal["ubl", "cii"]:
    """Which invoice syntax the root element says it is.

    :raises NotAnInvoice: a UBL credit note
    :raises UnsupportedContent: any other XML
    """
    if root.tag == UBL_INVOICE:
        return "ubl"
    if root.tag == CII_INVOICE:
        return "cii"
    if root.tag == UBL_CREDIT_NOTE:
        raise NotAnInvoice("credit note")
    raise UnsupportedContent("neither a UBL 2.1 invoice nor a CII invoice")


def _encoding(content: bytes) -> str:
    return next((encoding for mark, encoding in _ENCODINGS if content.startswith(mark)), "utf-8")
