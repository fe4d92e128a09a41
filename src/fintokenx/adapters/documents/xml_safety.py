"""XML without its dangers: no document type, no entities, no network, bounded size; then, which invoice is it?"""

from __future__ import annotations

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

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def looks_like_xml(content: bytes) -> bool:
    """Whether the first byte that is neither a UTF-8 byte order mark nor white space opens a tag."""
    return content.removeprefix(_BYTE_ORDER_MARK)[:64].lstrip().startswith(b"<")


def parse_xml(content: bytes, *, bytes_max: int) -> etree._Element:
    """The root element of UTF-8 XML that has no document type declaration.

    :raises FileTooLarge: more than ``bytes_max``
    :raises ActiveContent: it declares a document type or entities
    :raises UnsupportedContent: not UTF-8
    :raises DamagedDocument: not well formed
    """
    if len(content) > bytes_max:
        raise FileTooLarge(f"XML larger than {bytes_max} bytes")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsupportedContent("XML must be UTF-8") from error
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
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
        root = etree.fromstring(content.removeprefix(_BYTE_ORDER_MARK), parser)
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
