"""The fields of UBL 2.1 and UN/CEFACT CII invoices (EN 16931 terms BT-*), and what a person must look at in them.

An XML invoice is trusted no more than a page: every doubt that a page can raise, it raises too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from lxml import etree

from fintokenx.adapters.documents import en16931, remarks
from fintokenx.adapters.documents.amounts import decimal_to_pence
from fintokenx.adapters.documents.terms import Terms, find_due_dates, find_terms, find_terms_in_prose
from fintokenx.adapters.documents.values import (
    is_company,
    is_payee,
    normalise_company_number,
    normalise_vat,
    parse_cii_date,
    parse_xsd_date,
)
from fintokenx.adapters.documents.xml_source import Source
from fintokenx.lifecycle.invoice.ports import CurrencyUnsupported, InvoiceOnPaper, NotAnInvoice, PartyOnPaper

_PLAIN_INVOICE: Final = "380"
_SPECIAL_INVOICES: Final = frozenset({"82", "326", "383", "384", "386", "388", "389", "393", "395", "751", "780"})
"""UNTDID 1001 codes that ask for payment but that a person should see (corrected, prepaid, already factored …)."""
_CREDIT_NOTES: Final = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})
_PROFILES_WITHOUT_LINES: Final = re.compile(r"(?i)\b(?:minimum|basicwl)\b")
_NOTES_CHARACTERS_MAX: Final = 50_000
_GROUPING_LINES: Final = frozenset({"GROUP", "INFORMATION"})
"""CII lines that sum up or explain others."""


@dataclass(slots=True)
class XmlInvoice:
    """What the XML says. ``terms`` is there for a due date that the XML does not give."""

    fields: InvoiceOnPaper
    terms: Terms | None
    doubts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Payees:
    """Who gets the money, where it is said: BG-10, and the names of accounts (BT-85)."""

    parties: int
    names: list[str]
    company_numbers: list[str]
    account_names: list[str]


def read_ubl(root: etree._Element) -> XmlInvoice:
    """Read a UBL 2.1 Invoice.

    :raises NotAnInvoice: the type code says credit note, pro forma …; a negative total
    :raises CurrencyUnsupported: not in GBP
    """
    source = Source(root)
    _check_type(source, "cbc:InvoiceTypeCode")
    _check_currency(source, "cbc:DocumentCurrencyCode")
    totals = "cac:LegalMonetaryTotal/cbc:"
    means, payment_terms = "cac:PaymentMeans/", "cac:PaymentTerms/cbc:"
    account = f"{means}cac:PayeeFinancialAccount/"
    seller = _ubl_party(source, "cac:AccountingSupplierParty/cac:Party/", "seller")
    sort_code, account_number = source.bank(
        set(source.texts(f"{account}cbc:ID")), set(source.texts(f"{account}cac:FinancialInstitutionBranch/cbc:ID"))
    )
    prose = _notes(source, "cbc:Note", f"{means}cbc:InstructionNote")
    notes = _notes(source, f"{payment_terms}Note")
    fields = InvoiceOnPaper(
        invoice_number=source.one("cbc:ID", "invoice_number"),
        issue_date=_only_date(source, "issue_date", source.dates("issue_date", parse_xsd_date, "cbc:IssueDate")),
        due_date=_due_date(
            source,
            source.dates(
                "due_date", parse_xsd_date, "cbc:DueDate", f"{means}cbc:PaymentDueDate",
                f"{payment_terms}PaymentDueDate", f"{payment_terms}InstallmentDueDate",
            ),
            notes + prose,
        ),
        currency=source.currency,
        net=source.amount("BT-109", "net", f"{totals}TaxExclusiveAmount"),
        vat=source.amount("BT-110", "vat", "cac:TaxTotal/cbc:TaxAmount"),
        total=source.amount("BT-112", "total", f"{totals}TaxInclusiveAmount"),
        amount_paid=source.amount("BT-113", "amount_paid", f"{totals}PrepaidAmount") or None,
        amount_due=source.amount("BT-115", "amount_due", f"{totals}PayableAmount"),
        seller=seller,
        buyer=_ubl_party(source, "cac:AccountingCustomerParty/cac:Party/", "buyer"),
        sort_code=sort_code,
        account_number=account_number,
        purchase_order=source.one("cac:OrderReference/cbc:ID", "purchase_order"),
    )  # fmt: skip
    _ubl_sums(source, totals)
    _check_payees(
        source,
        [seller.name, *source.texts("cac:AccountingSupplierParty/cac:Party/cac:PartyName/cbc:Name")],
        seller,
        _Payees(
            len(source.nodes("cac:PayeeParty")),
            source.texts("cac:PayeeParty/cac:PartyName/cbc:Name")
            + source.texts("cac:PayeeParty/cac:PartyLegalEntity/cbc:RegistrationName"),
            source.texts("cac:PayeeParty/cac:PartyLegalEntity/cbc:CompanyID"),
            source.texts(f"{account}cbc:Name") + source.texts(f"{account}cbc:AliasName"),
        ),
    )
    source.check_currencies(source.one("cbc:TaxCurrencyCode", "tax_currency"))
    parts = source.texts(f"{payment_terms}Amount")
    shares = [
        share for share in source.texts(f"{payment_terms}PaymentPercent") if not re.fullmatch(r"100(\.0*)?", share)
    ]
    return _finished(source, fields, notes, prose, parts + shares)


def read_cii(root: etree._Element) -> XmlInvoice:
    """Read a CII D16B CrossIndustryInvoice (Factur-X 1, ZUGFeRD 2, XRechnung).

    :raises NotAnInvoice: the type code says credit note, pro forma …; a negative total
    :raises CurrencyUnsupported: not in GBP
    """
    source = Source(root)
    trade = "rsm:SupplyChainTradeTransaction/ram:"
    settlement = f"{trade}ApplicableHeaderTradeSettlement/ram:"
    agreement = f"{trade}ApplicableHeaderTradeAgreement/ram:"
    totals = f"{settlement}SpecifiedTradeSettlementHeaderMonetarySummation/ram:"
    means, payment_terms = (
        f"{settlement}SpecifiedTradeSettlementPaymentMeans/ram:",
        f"{settlement}SpecifiedTradePaymentTerms/ram:",
    )
    account = f"{means}PayeePartyCreditorFinancialAccount/ram:"
    _check_type(source, "rsm:ExchangedDocument/ram:TypeCode")
    _check_currency(source, f"{settlement}InvoiceCurrencyCode")
    seller = _cii_party(source, f"{agreement}SellerTradeParty/ram:", "seller")
    sort_code, account_number = source.bank(
        {*source.texts(f"{account}IBANID"), *source.texts(f"{account}ProprietaryID")},
        set(source.texts(f"{means}PayeeSpecifiedCreditorFinancialInstitution/ram:ClearingSystemReference")),
    )
    prose = _notes(source, "rsm:ExchangedDocument/ram:IncludedNote/ram:Content", f"{means}Information")
    notes = _notes(source, f"{payment_terms}Description")
    fields = InvoiceOnPaper(
        invoice_number=source.one("rsm:ExchangedDocument/ram:ID", "invoice_number"),
        issue_date=_only_date(
            source, "issue_date", _cii_dates(source, "issue_date", "rsm:ExchangedDocument/ram:IssueDateTime/udt:")
        ),
        due_date=_due_date(
            source, _cii_dates(source, "due_date", f"{payment_terms}DueDateDateTime/udt:"), notes + prose
        ),
        currency=source.currency,
        net=source.amount("BT-109", "net", f"{totals}TaxBasisTotalAmount"),
        vat=source.amount("BT-110", "vat", f"{totals}TaxTotalAmount"),
        total=source.amount("BT-112", "total", f"{totals}GrandTotalAmount"),
        amount_paid=source.amount("BT-113", "amount_paid", f"{totals}TotalPrepaidAmount") or None,
        amount_due=source.amount("BT-115", "amount_due", f"{totals}DuePayableAmount"),
        seller=seller,
        buyer=_cii_party(source, f"{agreement}BuyerTradeParty/ram:", "buyer"),
        sort_code=sort_code,
        account_number=account_number,
        purchase_order=source.one(f"{agreement}BuyerOrderReferencedDocument/ram:IssuerAssignedID", "purchase_order"),
    )
    _cii_sums(source, trade, settlement, totals)
    _check_payees(
        source,
        [
            seller.name,
            *source.texts(f"{agreement}SellerTradeParty/ram:SpecifiedLegalOrganization/ram:TradingBusinessName"),
        ],
        seller,
        _Payees(
            len(source.nodes(f"{settlement}PayeeTradeParty")),
            source.texts(f"{settlement}PayeeTradeParty/ram:Name"),
            source.texts(f"{settlement}PayeeTradeParty/ram:SpecifiedLegalOrganization/ram:ID"),
            source.texts(f"{account}AccountName"),
        ),
    )
    source.check_currencies(source.one(f"{settlement}TaxCurrencyCode", "tax_currency"))
    return _finished(source, fields, notes, prose, source.texts(f"{payment_terms}PartialPaymentAmount"))


def _finished(
    source: Source, fields: InvoiceOnPaper, notes: list[str], prose: list[str], parts: list[str]
) -> XmlInvoice:
    """Terms from words, the sums, and what notes say besides. ``parts``: amounts or shares due at a time."""
    found = {terms for note in notes for terms in find_terms(note)}
    found |= {terms for text in prose for terms in find_terms_in_prose(text)}
    if len(found) > 1:
        source.doubts.append("AMBIGUOUS:payment_terms_days")
    terms = found.pop() if len(found) == 1 else None
    due = source.amounts.get("BT-115")
    if any(decimal_to_pence(part) != due for part in parts):
        source.doubts.append("INSTALMENTS")
    source.doubts += en16931.broken(source.amounts, complete=True)
    source.doubts += remarks.doubts_about(notes + prose)
    return XmlInvoice(replace(fields, payment_terms_days=terms.days if terms else None), terms, source.doubts)


def _notes(source: Source, *paths: str) -> list[str]:
    """The texts there; more than anybody would read is a doubt."""
    texts = [text for path in paths for text in source.texts(path)]
    if sum(map(len, texts)) > _NOTES_CHARACTERS_MAX:
        source.doubts.append("UNREADABLE:notes")
        return []
    return texts


def _check_type(source: Source, path: str) -> None:
    """BT-3, UNTDID 1001."""
    codes = set(source.texts(path))
    if codes & _CREDIT_NOTES:
        raise NotAnInvoice("credit note")
    if not codes or codes - _SPECIAL_INVOICES - {_PLAIN_INVOICE}:
        raise NotAnInvoice("the document type code is not one of an invoice")
    source.doubts += [f"SPECIAL_INVOICE_TYPE:{code}" for code in sorted(codes - {_PLAIN_INVOICE})]


def _check_currency(source: Source, path: str) -> None:
    """BT-5."""
    codes = source.texts(path)
    if set(codes) != {"GBP"}:
        code = next((code for code in codes if code != "GBP"), "")
        raise CurrencyUnsupported("not in GBP", currency=code if re.fullmatch("[A-Z]{3}", code) else None)
    source.currency = "GBP"


def _only_date(source: Source, name: str, dates: set[date]) -> date | None:
    if len(dates) > 1:
        source.doubts.append(f"AMBIGUOUS:{name}")
    return next(iter(dates)) if len(dates) == 1 else None


def _due_date(source: Source, stated: set[date], notes: list[str]) -> date | None:
    """BT-9, and the dates by which notes want to be paid: one, or none is picked."""
    return _only_date(source, "due_date", stated | {due for note in notes for due in find_due_dates(note)})


def _cii_dates(source: Source, name: str, holder: str) -> set[date]:
    """Format 102 is the only one that EN 16931 knows; a date in another is there and unread."""
    strings = source.nodes(f"{holder}DateTimeString")
    if any(node.get("format", "102") != "102" for node in strings) or source.nodes(f"{holder}DateTime"):
        source.doubts.append(f"UNREADABLE:{name}")
        return set()
    return source.dates(name, parse_cii_date, f"{holder}DateTimeString")


def _ubl_sums(source: Source, totals: str) -> None:
    source.amount("BT-106", "line_total", f"{totals}LineExtensionAmount")
    source.amount("BT-107", "allowances", f"{totals}AllowanceTotalAmount")
    source.amount("BT-108", "charges", f"{totals}ChargeTotalAmount")
    source.amount("BT-114", "rounding", f"{totals}PayableRoundingAmount")
    lines = source.nodes("cac:InvoiceLine")
    source.add_up("BT-131", source.nodes("cac:InvoiceLine/cbc:LineExtensionAmount"), expected=len(lines))
    source.add_up("BT-117", source.nodes("cac:TaxTotal/cac:TaxSubtotal/cbc:TaxAmount"))
    for node in source.nodes("cac:AllowanceCharge"):
        _allowance_or_charge(source, node, "cbc:ChargeIndicator", "cbc:Amount")
    _check_prepayments(source, source.nodes("cac:PrepaidPayment/cbc:PaidAmount"))
    if any(text.strip("0.") for text in source.texts("cac:WithholdingTaxTotal/cbc:TaxAmount")):
        source.doubts.append("PAYABLE_DIFFERS_FROM_TOTAL")


def _cii_sums(source: Source, trade: str, settlement: str, totals: str) -> None:
    source.amount("BT-106", "line_total", f"{totals}LineTotalAmount")
    source.amount("BT-107", "allowances", f"{totals}AllowanceTotalAmount")
    source.amount("BT-108", "charges", f"{totals}ChargeTotalAmount")
    source.amount("BT-114", "rounding", f"{totals}RoundingAmount")
    status = "ram:AssociatedDocumentLineDocument/ram:LineStatusReasonCode"
    lines = [
        line
        for line in source.nodes(f"{trade}IncludedSupplyChainTradeLineItem")
        if not _GROUPING_LINES & {node.text for node in source.nodes(status, line)}
    ]
    sums = "ram:SpecifiedLineTradeSettlement/ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount"
    source.add_up("BT-131", [node for line in lines for node in source.nodes(sums, line)], expected=len(lines))
    profile = "rsm:ExchangedDocumentContext/ram:GuidelineSpecifiedDocumentContextParameter/ram:ID"
    if not lines and "BT-106" in source.amounts and _PROFILES_WITHOUT_LINES.search(" ".join(source.texts(profile))):
        source.amounts["BT-131"] = source.amounts["BT-106"]
    source.add_up("BT-117", source.nodes(f"{settlement}ApplicableTradeTax/ram:CalculatedAmount"))
    for node in source.nodes(f"{settlement}SpecifiedTradeAllowanceCharge"):
        _allowance_or_charge(source, node, "ram:ChargeIndicator/udt:Indicator", "ram:ActualAmount")
    source.add_up("BT-99", source.nodes(f"{settlement}SpecifiedLogisticsServiceCharge/ram:AppliedAmount"))
    _check_prepayments(source, source.nodes(f"{settlement}SpecifiedAdvancePayment/ram:PaidAmount"))


def _allowance_or_charge(source: Source, node: etree._Element, indicator: str, amount: str) -> None:
    """BG-20 and BG-21: the indicator says which."""
    says = "".join((each.text or "").strip() for each in source.nodes(indicator, node))
    term = {"false": "BT-92", "0": "BT-92", "true": "BT-99", "1": "BT-99"}.get(says)
    if term is None:
        source.doubts.append("UNREADABLE:allowance_or_charge")
    else:
        source.add_up(term, source.nodes(amount, node))


def _check_prepayments(source: Source, nodes: list[etree._Element]) -> None:
    """Payments listed one by one are what BT-113 sums up."""
    source.add_up("prepayments", nodes)
    if source.amounts.pop("prepayments", None) not in (None, source.amounts.get("BT-113", 0)):
        source.doubts.append("AMBIGUOUS:amount_paid")


def _check_payees(source: Source, names: list[str | None], seller: PartyOnPaper, payees: _Payees) -> None:
    """BG-10 stands where another than the seller is paid; so may the account's name (BT-85) say.

    A trading name is the seller's own unless it is a company's.
    """
    own = [name for name in names if name and (name == seller.name or not is_company(name))]
    strangers = [name for name in payees.names + payees.account_names if not is_payee(name, own)]
    numbers = {normalise_company_number(text) for text in payees.company_numbers}
    told = bool(payees.names or numbers)
    if (
        strangers
        or (payees.parties and not told)
        or (numbers and numbers != {seller.company_number or next(iter(numbers))})
    ):
        source.doubts.append("PAYEE_IS_NOT_SELLER")


def _ubl_party(source: Source, party: str, role: str) -> PartyOnPaper:
    legal = f"{party}cac:PartyLegalEntity/cbc:"
    vat = source.texts(f"{party}cac:PartyTaxScheme/cbc:CompanyID")
    return PartyOnPaper(
        name=source.one(f"{legal}RegistrationName", f"{role}.name")
        or source.one(f"{party}cac:PartyName/cbc:Name", f"{role}.name"),
        company_number=source.checked(
            source.texts(f"{legal}CompanyID"), f"{role}.company_number", normalise_company_number
        ),
        vat_number=source.checked(
            [text for text in vat if text.upper().startswith("GB")], f"{role}.vat_number", normalise_vat
        ),
    )


def _cii_party(source: Source, party: str, role: str) -> PartyOnPaper:
    return PartyOnPaper(
        name=source.one(f"{party}Name", f"{role}.name"),
        company_number=source.checked(
            source.texts(f"{party}SpecifiedLegalOrganization/ram:ID"),
            f"{role}.company_number",
            normalise_company_number,
        ),
        vat_number=source.checked(
            source.texts(f"{party}SpecifiedTaxRegistration/ram:ID[@schemeID='VA']"), f"{role}.vat_number", normalise_vat
        ),
    )
