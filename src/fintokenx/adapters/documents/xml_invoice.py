"""The fields of UBL 2.1 and UN/CEFACT CII invoices (EN 16931 terms BT-*), and the sums that must hold in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from lxml import etree

from fintokenx.adapters.documents.values import (
    Terms,
    bank_details_of_iban,
    decimal_to_pence,
    normalise_company_number,
    normalise_vat,
    parse_terms,
)
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import CurrencyUnsupported, InvoiceOnPaper, NotAnInvoice, PartyOnPaper

_NAMESPACES: Final = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_PLAIN_INVOICE: Final = "380"
_SPECIAL_INVOICES: Final = frozenset({"82", "326", "383", "384", "386", "388", "389", "393", "395", "751", "780"})
"""UNTDID 1001 codes that ask for payment but that a person should see (corrected, prepaid, already factored …)."""
_CREDIT_NOTES: Final = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})


@dataclass(slots=True)
class XmlInvoice:
    """What the XML says. ``terms`` is there for a due date that the XML does not give."""

    fields: InvoiceOnPaper
    terms: Terms | None
    doubts: list[str] = field(default_factory=list)


def read_ubl(root: etree._Element) -> XmlInvoice:
    """Read a UBL 2.1 Invoice.

    :raises NotAnInvoice: the type code says credit note, pro forma …
    :raises CurrencyUnsupported: not in GBP
    """
    source = _Source(root)
    type_doubts = _check_type(source.text("cbc:InvoiceTypeCode"))
    currency = _check_currency(source.text("cbc:DocumentCurrencyCode"))
    totals = "cac:LegalMonetaryTotal/cbc:"
    sort_code, account_number = _ubl_bank(source)
    terms = parse_terms(source.text("cac:PaymentTerms/cbc:Note") or "")
    fields = InvoiceOnPaper(
        invoice_number=source.text("cbc:ID"),
        issue_date=source.date("cbc:IssueDate"),
        due_date=source.date("cbc:DueDate") or source.date("cac:PaymentMeans/cbc:PaymentDueDate"),
        payment_terms_days=terms.days if terms else None,
        currency=currency,
        net=source.money(f"{totals}TaxExclusiveAmount", "net"),
        vat=source.money(f"cac:TaxTotal/cbc:TaxAmount[@currencyID='{currency}']", "vat"),
        total=source.money(f"{totals}TaxInclusiveAmount", "total"),
        amount_paid=source.money(f"{totals}PrepaidAmount", "amount_paid") or None,
        seller=_ubl_party(source, "cac:AccountingSupplierParty/cac:Party/", "seller"),
        buyer=_ubl_party(source, "cac:AccountingCustomerParty/cac:Party/", "buyer"),
        sort_code=sort_code,
        account_number=account_number,
        purchase_order=source.text("cac:OrderReference/cbc:ID"),
    )
    source.check_currencies(currency)
    source.check_sum("cac:InvoiceLine/cbc:LineExtensionAmount", f"{totals}LineExtensionAmount")
    return XmlInvoice(fields, terms, type_doubts + source.doubts)


def read_cii(root: etree._Element) -> XmlInvoice:
    """Read a CII D16B CrossIndustryInvoice (Factur-X 1, ZUGFeRD 2, XRechnung).

    :raises NotAnInvoice: the type code says credit note, pro forma …
    :raises CurrencyUnsupported: not in GBP
    """
    source = _Source(root)
    trade = "rsm:SupplyChainTradeTransaction/ram:"
    settlement = f"{trade}ApplicableHeaderTradeSettlement/ram:"
    agreement = f"{trade}ApplicableHeaderTradeAgreement/ram:"
    totals = f"{settlement}SpecifiedTradeSettlementHeaderMonetarySummation/ram:"
    type_doubts = _check_type(source.text("rsm:ExchangedDocument/ram:TypeCode"))
    currency = _check_currency(source.text(f"{settlement}InvoiceCurrencyCode"))
    sort_code, account_number = _cii_bank(source, f"{settlement}SpecifiedTradeSettlementPaymentMeans/ram:")
    terms = parse_terms(source.text(f"{settlement}SpecifiedTradePaymentTerms/ram:Description") or "")
    fields = InvoiceOnPaper(
        invoice_number=source.text("rsm:ExchangedDocument/ram:ID"),
        issue_date=source.date("rsm:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString[@format='102']"),
        due_date=source.date(
            f"{settlement}SpecifiedTradePaymentTerms/ram:DueDateDateTime/udt:DateTimeString[@format='102']"
        ),
        payment_terms_days=terms.days if terms else None,
        currency=currency,
        net=source.money(f"{totals}TaxBasisTotalAmount", "net"),
        vat=source.money(f"{totals}TaxTotalAmount[@currencyID='{currency}']", "vat"),
        total=source.money(f"{totals}GrandTotalAmount", "total"),
        amount_paid=source.money(f"{totals}TotalPrepaidAmount", "amount_paid") or None,
        seller=_cii_party(source, f"{agreement}SellerTradeParty/ram:", "seller"),
        buyer=_cii_party(source, f"{agreement}BuyerTradeParty/ram:", "buyer"),
        sort_code=sort_code,
        account_number=account_number,
        purchase_order=source.text(f"{agreement}BuyerOrderReferencedDocument/ram:IssuerAssignedID"),
    )
    source.check_currencies(currency)
    source.check_sum(
        f"{trade}IncludedSupplyChainTradeLineItem/ram:SpecifiedLineTradeSettlement"
        "/ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount",
        f"{totals}LineTotalAmount",
    )
    return XmlInvoice(fields, terms, type_doubts + source.doubts)


def _check_type(code: str | None) -> list[str]:
    """BT-3, UNTDID 1001."""
    if code in _CREDIT_NOTES:
        raise NotAnInvoice("credit note")
    if code == _PLAIN_INVOICE:
        return []
    if code in _SPECIAL_INVOICES:
        return [f"SPECIAL_INVOICE_TYPE:{code}"]
    raise NotAnInvoice("the document type code is not one of an invoice")


def _check_currency(code: str | None) -> str:
    """BT-5."""
    if code != "GBP":
        raise CurrencyUnsupported("not in GBP", currency=code if re.fullmatch("[A-Z]{3}", code or "") else None)
    return code


class _Source:
    """Typed look-ups in the XML. What is there but cannot be read becomes a doubt, never a guess."""

    def __init__(self, root: etree._Element) -> None:
        self._root = root
        self.doubts: list[str] = []

    def texts(self, path: str) -> list[str]:
        """The non-empty texts at the path, stripped."""
        found = (node.text for node in self._root.findall(path, _NAMESPACES))
        return [text.strip() for text in found if text and text.strip()]

    def text(self, path: str) -> str | None:
        """The first text at the path."""
        return next(iter(self.texts(path)), None)

    def date(self, path: str) -> date | None:
        """ISO, or the basic form that CII format 102 has."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            self.doubts.append("UNREADABLE:date")
            return None

    def money(self, path: str, name: str) -> Pence | None:
        """Whole pence; several different amounts where one is expected are a doubt."""
        texts = set(self.texts(path))
        if not texts:
            return None
        pence = {decimal_to_pence(text) for text in texts}
        (amount,) = pence if len(pence) == 1 else (None,)
        if amount is None:
            self.doubts.append(f"UNREADABLE:{name}")
            return None
        if amount < 0:
            raise NotAnInvoice("it asks for less than nothing")
        return Pence(amount)

    def checked(self, texts: list[str], name: str, normalise: Callable[[str], str | None]) -> str | None:
        """The first value that normalises; present but invalid is a doubt."""
        values = [value for text in texts if (value := normalise(text))]
        if texts and not values:
            self.doubts.append(f"UNREADABLE:{name}")
        return values[0] if values else None

    def check_currencies(self, currency: str) -> None:
        """No amount that we use may be in another currency than the document's (VAT accounting currency aside)."""
        for node in self._root.iter(
            "{*}PayableAmount", "{*}TaxInclusiveAmount", "{*}GrandTotalAmount", "{*}LineTotalAmount"
        ):
            if node.get("currencyID", currency) != currency:
                self.doubts.append("MIXED_CURRENCIES")
                return

    def check_sum(self, parts: str, whole: str) -> None:
        """BR-CO-10: the line net amounts add up to the sum that is stated."""
        amounts = [decimal_to_pence(text) for text in self.texts(parts)]
        stated = self.text(whole)
        if stated is None or not amounts:
            return
        if None in amounts or sum(amount or 0 for amount in amounts) != decimal_to_pence(stated):
            self.doubts.append("LINES_DO_NOT_ADD_UP")


def _ubl_party(source: _Source, party: str, role: str) -> PartyOnPaper:
    legal = f"{party}cac:PartyLegalEntity/cbc:"
    vat = source.texts(f"{party}cac:PartyTaxScheme/cbc:CompanyID")
    return PartyOnPaper(
        name=source.text(f"{legal}RegistrationName") or source.text(f"{party}cac:PartyName/cbc:Name"),
        company_number=source.checked(
            source.texts(f"{legal}CompanyID"), f"{role}.company_number", normalise_company_number
        ),
        vat_number=source.checked(
            [text for text in vat if text.upper().startswith("GB")], f"{role}.vat_number", normalise_vat
        ),
    )


def _cii_party(source: _Source, party: str, role: str) -> PartyOnPaper:
    return PartyOnPaper(
        name=source.text(f"{party}Name"),
        company_number=source.checked(
            source.texts(f"{party}SpecifiedLegalOrganization/ram:ID"),
            f"{role}.company_number",
            normalise_company_number,
        ),
        vat_number=source.checked(
            source.texts(f"{party}SpecifiedTaxRegistration/ram:ID[@schemeID='VA']"), f"{role}.vat_number", normalise_vat
        ),
    )


def _ubl_bank(source: _Source) -> tuple[str | None, str | None]:
    account = "cac:PaymentMeans/cac:PayeeFinancialAccount/"
    accounts = set(source.texts(f"{account}cbc:ID"))
    branches = set(source.texts(f"{account}cac:FinancialInstitutionBranch/cbc:ID"))
    return _bank(source, accounts, branches)


def _cii_bank(source: _Source, means: str) -> tuple[str | None, str | None]:
    ibans = set(source.texts(f"{means}PayeePartyCreditorFinancialAccount/ram:IBANID"))
    accounts = ibans or set(source.texts(f"{means}PayeePartyCreditorFinancialAccount/ram:ProprietaryID"))
    branches = set(source.texts(f"{means}PayeeSpecifiedCreditorFinancialInstitution/ram:ClearingSystemReference"))
    return _bank(source, accounts, branches)


def _bank(source: _Source, accounts: set[str], branches: set[str]) -> tuple[str | None, str | None]:
    """BT-84 is an IBAN or an account number; the branch, where there is one, is the sort code."""
    if len(accounts) > 1 or len(branches) > 1:
        source.doubts.append("AMBIGUOUS:account_number")
        return None, None
    account = re.sub(r"[\s-]", "", next(iter(accounts), ""))
    branch = re.sub(r"[\s-]", "", next(iter(branches), ""))
    if from_iban := bank_details_of_iban(account):
        return from_iban
    if account[:2].isalpha():
        source.doubts.append("UNREADABLE:account_number")
        return None, None
    return (
        branch if re.fullmatch(r"\d{6}", branch) else None,
        account if re.fullmatch(r"\d{8}", account) else None,
    )
