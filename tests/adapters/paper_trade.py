"""One invoice of our own making in each syntax: UBL, CII, a page, and a page with CII inside (Factur-X)."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pikepdf
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

SELLER: Final = "Millrace Foods Limited"
BUYER: Final = "Northwater Retail Group plc"
_UBL_NAMES: Final = "urn:oasis:names:specification:ubl:schema:xsd"
_CII_NAMES: Final = "urn:un:unece:uncefact:data:standard"


@dataclass(frozen=True)
class Facts:
    """What an invoice says. Amounts are as written; "" leaves the element out."""

    type_code: str = "380"
    due: tuple[str, ...] = ("2026-07-08",)
    terms: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ("600.00", "400.00")
    line_total: str = "1000.00"
    allowances: tuple[str, ...] = ()
    allowance_total: str = ""
    charges: tuple[str, ...] = ()
    charge_total: str = ""
    net: str = "1000.00"
    vat: str = "200.00"
    vat_parts: tuple[str, ...] = ()
    total: str = "1200.00"
    paid: str = ""
    rounding: str = ""
    payable: str = "1200.00"
    account: str = "73041586"
    account_name: str = ""
    payee: str = ""
    trading_name: str = ""


def ubl(facts: Facts) -> bytes:
    """A UBL 2.1 invoice."""

    def money(name: str, amount: str) -> str:
        return f'<cbc:{name} currencyID="GBP">{amount}</cbc:{name}>' if amount else ""

    due = [f"<cbc:DueDate>{facts.due[0]}</cbc:DueDate>"] if facts.due else []
    others = "".join(f"<cbc:PaymentDueDate>{each}</cbc:PaymentDueDate>" for each in facts.due[1:])
    brand = f"<cac:PartyName><cbc:Name>{facts.trading_name}</cbc:Name></cac:PartyName>" if facts.trading_name else ""
    payee = f"<cac:PayeeParty><cac:PartyName><cbc:Name>{facts.payee}</cbc:Name></cac:PartyName></cac:PayeeParty>"
    name = f"<cbc:Name>{facts.account_name}</cbc:Name>" if facts.account_name else ""
    some = [("false", each) for each in facts.allowances] + [("true", each) for each in facts.charges]
    subtotals = "".join(f"<cac:TaxSubtotal>{money('TaxAmount', each)}</cac:TaxSubtotal>" for each in facts.vat_parts)
    parts = [
        (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Invoice xmlns="{_UBL_NAMES}:Invoice-2" xmlns:cac="{_UBL_NAMES}:'
            f'CommonAggregateComponents-2" xmlns:cbc="{_UBL_NAMES}:CommonBasicComponents-2">'
        ),
        "<cbc:ID>FX-9001</cbc:ID><cbc:IssueDate>2026-06-08</cbc:IssueDate>",
        *due,
        f"<cbc:InvoiceTypeCode>{facts.type_code}</cbc:InvoiceTypeCode>",
        *(f"<cbc:Note>{note}</cbc:Note>" for note in facts.notes),
        "<cbc:DocumentCurrencyCode>GBP</cbc:DocumentCurrencyCode>",
        (
            f"<cac:AccountingSupplierParty><cac:Party>{brand}<cac:PartyLegalEntity><cbc:RegistrationName>{SELLER}</cbc:"
            "RegistrationName><cbc:CompanyID>19845102</cbc:CompanyID></cac:PartyLegalEntity></cac:Party></cac:AccountingSupplierParty>"
        ),
        (
            f"<cac:AccountingCustomerParty><cac:Party><cac:PartyLegalEntity><cbc:RegistrationName>{BUYER}</cbc:"
            "RegistrationName><cbc:CompanyID>19900317</cbc:CompanyID></cac:PartyLegalEntity></cac:Party></cac:AccountingCustomerParty>"
        ),
        payee if facts.payee else "",
        (
            f"<cac:PaymentMeans><cbc:PaymentMeansCode>30</cbc:PaymentMeansCode>{others}<cac:PayeeFinancialAccount><cbc:ID>"
            f"{facts.account}</cbc:ID>{name}<cac:FinancialInstitutionBranch><cbc:ID>995190</cbc:ID></cac:"
            "FinancialInstitutionBranch></cac:PayeeFinancialAccount></cac:PaymentMeans>"
        ),
        *(f"<cac:PaymentTerms><cbc:Note>{note}</cbc:Note></cac:PaymentTerms>" for note in facts.terms),
        *(
            f"<cac:AllowanceCharge><cbc:ChargeIndicator>{says}</cbc:ChargeIndicator>{money('Amount', each)}"
            "</cac:AllowanceCharge>"
            for says, each in some
        ),
        f"<cac:TaxTotal>{money('TaxAmount', facts.vat)}{subtotals}</cac:TaxTotal>" if facts.vat else "",
        "<cac:LegalMonetaryTotal>",
        money("LineExtensionAmount", facts.line_total) + money("TaxExclusiveAmount", facts.net),
        money("TaxInclusiveAmount", facts.total) + money("AllowanceTotalAmount", facts.allowance_total),
        money("ChargeTotalAmount", facts.charge_total) + money("PrepaidAmount", facts.paid),
        money("PayableRoundingAmount", facts.rounding) + money("PayableAmount", facts.payable),
        "</cac:LegalMonetaryTotal>",
        *(f"<cac:InvoiceLine>{money('LineExtensionAmount', line)}</cac:InvoiceLine>" for line in facts.lines),
        "</Invoice>",
    ]
    return "\n".join(part for part in parts if part).encode()


def cii(facts: Facts) -> bytes:
    """A CII D16B invoice."""

    def money(name: str, amount: str, currency: str = "") -> str:
        return f"<ram:{name}{currency}>{amount}</ram:{name}>" if amount else ""

    def day(text: str) -> str:
        return f'<udt:DateTimeString format="102">{text.replace("-", "")}</udt:DateTimeString>'

    def party(role: str, name: str, number: str, brand: str = "") -> str:
        trading = f"<ram:TradingBusinessName>{brand}</ram:TradingBusinessName>" if brand else ""
        return (
            f"<ram:{role}TradeParty><ram:Name>{name}</ram:Name><ram:SpecifiedLegalOrganization><ram:ID>{number}</ram:ID>"
            f"{trading}</ram:SpecifiedLegalOrganization></ram:{role}TradeParty>"
        )

    name = f"<ram:AccountName>{facts.account_name}</ram:AccountName>" if facts.account_name else ""
    some = [("false", each) for each in facts.allowances] + [("true", each) for each in facts.charges]
    descriptions = [f"<ram:Description>{note}</ram:Description>" for note in facts.terms]
    dues = [f"<ram:DueDateDateTime>{day(each)}</ram:DueDateDateTime>" for each in facts.due]
    blocks = [*("".join(descriptions[:1]) + each for each in dues[:1]), *dues[1:]] if dues else descriptions[:1]
    blocks += descriptions[1:]
    line = "ram:SpecifiedLineTradeSettlement><ram:SpecifiedTradeSettlementLineMonetarySummation>"
    parts = [
        (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<rsm:CrossIndustryInvoice xmlns:rsm="{_CII_NAMES}:'
            f'CrossIndustryInvoice:100"'
            f' xmlns:ram="{_CII_NAMES}:ReusableAggregateBusinessInformationEntity:100"'
            f' xmlns:udt="{_CII_NAMES}:UnqualifiedDataType:100">'
        ),
        f"<rsm:ExchangedDocument><ram:ID>FX-9001</ram:ID><ram:TypeCode>{facts.type_code}</ram:TypeCode>",
        f"<ram:IssueDateTime>{day('2026-06-08')}</ram:IssueDateTime>",
        *(f"<ram:IncludedNote><ram:Content>{note}</ram:Content></ram:IncludedNote>" for note in facts.notes),
        "</rsm:ExchangedDocument><rsm:SupplyChainTradeTransaction>",
        *(
            f"<ram:IncludedSupplyChainTradeLineItem><{line}{money('LineTotalAmount', each)}"
            "</ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement></ram:IncludedSupplyChainTradeLineItem>"
            for each in facts.lines
        ),
        f"<ram:ApplicableHeaderTradeAgreement>{party('Seller', SELLER, '19845102', facts.trading_name)}",
        f"{party('Buyer', BUYER, '19900317')}</ram:ApplicableHeaderTradeAgreement>",
        "<ram:ApplicableHeaderTradeSettlement>",
        "<ram:InvoiceCurrencyCode>GBP</ram:InvoiceCurrencyCode>",
        f"<ram:PayeeTradeParty><ram:Name>{facts.payee}</ram:Name></ram:PayeeTradeParty>" if facts.payee else "",
        (
            "<ram:SpecifiedTradeSettlementPaymentMeans><ram:TypeCode>30</ram:TypeCode><ram:PayeePartyCreditorFinancialAccount>"
            f"{name}<ram:ProprietaryID>{facts.account}</ram:ProprietaryID></ram:PayeePartyCreditorFinancialAccount>"
            "</ram:SpecifiedTradeSettlementPaymentMeans>"
        ),
        *(
            f"<ram:ApplicableTradeTax>{money('CalculatedAmount', each)}</ram:ApplicableTradeTax>"
            for each in facts.vat_parts
        ),
        *(
            f"<ram:SpecifiedTradeAllowanceCharge><ram:ChargeIndicator><udt:Indicator>{says}</udt:Indicator></ram:ChargeIndicator>"
            f"{money('ActualAmount', each)}</ram:SpecifiedTradeAllowanceCharge>"
            for says, each in some
        ),
        *(f"<ram:SpecifiedTradePaymentTerms>{block}</ram:SpecifiedTradePaymentTerms>" for block in blocks),
        "<ram:SpecifiedTradeSettlementHeaderMonetarySummation>",
        money("LineTotalAmount", facts.line_total) + money("ChargeTotalAmount", facts.charge_total),
        money("AllowanceTotalAmount", facts.allowance_total) + money("TaxBasisTotalAmount", facts.net),
        money("TaxTotalAmount", facts.vat, ' currencyID="GBP"') + money("RoundingAmount", facts.rounding),
        money("GrandTotalAmount", facts.total) + money("TotalPrepaidAmount", facts.paid),
        money("DuePayableAmount", facts.payable),
        "</ram:SpecifiedTradeSettlementHeaderMonetarySummation></ram:ApplicableHeaderTradeSettlement>",
        "</rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>",
    ]
    return "\n".join(part for part in parts if part).encode()


def page(facts: Facts, *more: tuple[float, float, str]) -> bytes:
    """A page with the same facts as people read them, and what else stands at (left, top)."""
    rows = [("Invoice number:", "FX-9001"), ("Invoice date:", "8 June 2026")]
    rows += [("Due date:", each) for each in facts.due]
    rows += [("Payment terms:", each) for each in facts.terms]
    rows += [("Carriage", f"£{each}") for each in facts.charges] + [
        ("Discount", f"-£{each}") for each in facts.allowances
    ]
    sums = (
        *(("Net total", facts.net), ("VAT 20%", facts.vat), ("Invoice total", facts.total), ("Less paid", facts.paid)),
        *(("Rounding", facts.rounding), ("Balance due", facts.payable if facts.payable != facts.total else "")),
    )
    rows += [(label, f"£{amount}") for label, amount in sums if amount]
    rows += [("Account name:", facts.account_name)] if facts.account_name else []
    rows += [("Payee:", facts.payee)] if facts.payee else []
    placed = [(40.0, 120 + 14.0 * index, label) for index, (label, _) in enumerate(rows)]
    placed += [(180.0, 120 + 14.0 * index, value) for index, (_, value) in enumerate(rows)]
    placed += [(40.0, 560 + 16.0 * index, note) for index, note in enumerate(facts.notes)]
    return text_at(
        (40, 40, facts.trading_name or SELLER), (400, 40, "CREDIT NOTE" if facts.type_code == "381" else "INVOICE"),
        (40, 70, "Bill to:"), (40, 82, BUYER), (40, 94, "Northwater House"), (40, 106, "Leeds LS1 9ZY"), *placed, *more,
        (40, 780, f"{SELLER}, registered in England and Wales no. 19845102"),
    )  # fmt: skip


def hybrid(facts: Facts, inside: Facts | None = None) -> bytes:
    """The page, with the CII invoice of the same facts inside, or of others."""
    return attached(page(facts), cii(inside or facts))


def attached(paper: bytes, xml: bytes) -> bytes:
    """A PDF with an electronic invoice attached."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(paper)) as pdf:
        pdf.attachments["factur-x.xml"] = xml
        pdf.save(out, deterministic_id=True)
    return out.getvalue()


def text_at(*lines: tuple[float, float, str]) -> bytes:
    """A one-page PDF with text at (left, top) in points."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.setFont("Helvetica", 9)
    for left, top, text in lines:
        canvas.drawString(left, A4[1] - top, text)
    canvas.save()
    return buffer.getvalue()


SYNTAXES: Final[dict[str, Callable[[Facts], bytes]]] = {"ubl": ubl, "cii": cii, "page": page, "hybrid": hybrid}
