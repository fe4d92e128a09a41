"""Makes the sample invoices in samples/invoices and the truth (.json) of each; the same input gives the same bytes.

All parties are fictitious: company numbers are above those issued, sort codes are 99-xx-xx, telephone
numbers are drama numbers, VAT numbers pass the mod-97 check. Run ``python samples/make.py``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pikepdf
from reportlab.lib.colors import HexColor
from reportlab.pdfgen.canvas import Canvas

HERE = Path(__file__).resolve().parent / "invoices"
WIDTH, HEIGHT = 595.28, 841.89


@dataclass(frozen=True)
class Party:
    """A company with its address lines; the last is the postcode."""

    name: str
    company_number: str
    vat_number: str
    address: tuple[str, ...]
    sort_code: str = ""
    account_number: str = ""
    email: str = ""


@dataclass(frozen=True)
class Line:
    """Net amounts in pence."""

    description: str
    quantity: int
    unit_pence: int

    @property
    def total_pence(self) -> int:
        """Net of VAT."""
        return self.quantity * self.unit_pence


@dataclass(frozen=True)
class Sample:
    """One invoice, all lines at 20 % VAT."""

    number: str
    issued: date
    due: date | None
    terms_days: int
    terms_text: str
    seller: Party
    buyer: Party
    purchase_order: str
    lines: tuple[Line, ...]
    implied_due: date | None = None
    paid_pence: int = 0

    @property
    def net_pence(self) -> int:
        """The sum of the lines."""
        return sum(line.total_pence for line in self.lines)

    @property
    def vat_pence(self) -> int:
        """20 %, exact for these samples."""
        vat, rest = divmod(self.net_pence, 5)
        assert rest == 0, "choose amounts whose VAT is whole pence"
        return vat

    @property
    def total_pence(self) -> int:
        """Gross."""
        return self.net_pence + self.vat_pence


HARBOUR = Party(
    "Harbourlight Signage Ltd",
    "19812046",
    "GB918441714",
    ("Unit 3, Chandlers Slip", "Whitehaven", "CA28 9ZL"),
    "99-18-52",
    "40276193",
    "accounts@harbourlight-signage.example",
)
KELP = Party(
    "Kelp & Quill Print LLP",
    "OC918226",
    "GB926055331",
    ("The Old Sailmakers, 9 Rope Walk", "Falmouth", "TR11 9ZH"),
    "99-37-04",
    "61820945",
    "ledger@kelpandquill.example",
)
FERRY = Party(
    "Ferrybridge Events Limited",
    "19820773",
    "GB931770228",
    ("14 Landing Stage", "Hull", "HU1 9ZW"),
    "99-64-28",
    "09157736",
    "finance@ferrybridge-events.example",
)
TERN = Party(
    "Ternpoint Instruments Ltd",
    "19834415",
    "GB940228640",
    ("2 Tidal Court", "Southampton", "SO14 9ZD"),
    "99-20-41",
    "52773860",
    "sales@ternpoint.example",
)
MILLRACE = Party(
    "Millrace Foods Limited",
    "19845102",
    "GB944107338",
    ("Weir Mill, 6 Leat Lane", "Hexham", "NE46 9ZQ"),
    "99-51-90",
    "73041586",
    "orders@millrace-foods.example",
)
RETAIL = Party(
    "Northwater Retail Group plc", "19900317", "GB913772028", ("Northwater House", "1 Basin Square", "Leeds", "LS1 9ZY")
)
HOTELS = Party("Saltmarsh Hotels Limited", "19911284", "GB922661823", ("44 Esplanade", "Scarborough", "YO11 9ZB"))

INVOICES: dict[str, Sample] = {
    "harbour-signage": Sample(
        "HS-2026-0117",
        date(2026, 6, 1),
        date(2026, 7, 31),
        60,
        "60 days",
        HARBOUR,
        RETAIL,
        "NRG-4500071",
        (
            Line("Illuminated fascia sign 4.2 m, supply and fit", 4, 185_000),
            Line("Wayfinding totem, powder coated", 6, 42_500),
            Line("Survey and method statement", 1, 45_000),
        ),
    ),
    "kelp-print-month-end": Sample(
        "KQ/2611",
        date(2026, 5, 12),
        None,
        30,
        "30 days from end of month",
        KELP,
        HOTELS,
        "SMH 2207",
        (
            Line("Menu card A4, litho, 400 gsm (per 100)", 25, 6_280),
            Line("Key wallet, foil blocked (per 500)", 8, 14_915),
        ),
        implied_due=date(2026, 6, 30),
    ),
    "ferry-events-part-paid": Sample(
        "3108",
        date(2026, 5, 27),
        date(2026, 6, 26),
        30,
        "30 days",
        FERRY,
        RETAIL,
        "NRG-4500066",
        (Line("Conference staging, two days", 1, 640_000), Line("Technician, day rate", 5, 38_500)),
        paid_pence=250_000,
    ),
    "tern-instruments": Sample(
        "TPI-0442",
        date(2026, 6, 15),
        date(2026, 7, 15),
        30,
        "30 days",
        TERN,
        HOTELS,
        "SMH 2219",
        (Line("Pool water analyser PW-3", 3, 128_400), Line("Annual calibration", 3, 21_000)),
    ),
    "millrace-foods": Sample(
        "MF-70093",
        date(2026, 6, 8),
        date(2026, 7, 8),
        30,
        "30 days",
        MILLRACE,
        RETAIL,
        "NRG-4500080",
        (Line("Gift hamper, small", 120, 2_475), Line("Gift hamper, large", 60, 4_860)),
    ),
}


def truth(sample: Sample) -> dict[str, Any]:
    """What the seller declares: integer pence, ISO dates, the format of the shared invoice data."""
    told: dict[str, Any] = {
        "invoice_number": sample.number,
        "issue_date": sample.issued.isoformat(),
        "due_date": sample.due.isoformat() if sample.due else None,
        "payment_terms_days": sample.terms_days,
        "currency": "GBP",
        "total_pence": sample.total_pence,
        "net_pence": sample.net_pence,
        "vat_pence": sample.vat_pence,
        "seller": {
            "name": sample.seller.name,
            "company_number": sample.seller.company_number,
            "vat_number": sample.seller.vat_number,
            "sort_code": sample.seller.sort_code,
            "account_number": sample.seller.account_number,
        },
        "buyer": {
            "name": sample.buyer.name,
            "company_number": sample.buyer.company_number,
            "address": ", ".join(sample.buyer.address),
        },
        "purchase_order": sample.purchase_order,
        "lines": [
            {
                "description": line.description,
                "quantity": str(line.quantity),
                "unit_pence": line.unit_pence,
                "total_pence": line.total_pence,
            }
            for line in sample.lines
        ],
        "payment_terms_text": sample.terms_text,
    }
    if sample.implied_due:
        told["implied_due_date"] = sample.implied_due.isoformat()
    if sample.paid_pence:
        told["amount_paid_pence"] = sample.paid_pence
        told["balance_due_pence"] = sample.total_pence - sample.paid_pence
    return told


def pounds(pence: int) -> str:
    """``£1,234.56``."""
    return f"£{pence // 100:,}.{pence % 100:02d}"


def decimal(pence: int) -> str:
    """``1234.56``, as XML has it."""
    return f"{pence // 100}.{pence % 100:02d}"


class Paper:
    """An A4 page with coordinates from the top left; reproducible bytes."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=(WIDTH, HEIGHT), invariant=1)

    def write(self, left: float, top: float, text: str, *, size: float = 9, bold: bool = False) -> None:
        """Left-aligned."""
        self._canvas.setFont("Helvetica-Bold" if bold else "Helvetica", size)
        self._canvas.drawString(left, HEIGHT - top, text)

    def write_right(self, right: float, top: float, text: str, *, size: float = 9, bold: bool = False) -> None:
        """Right-aligned."""
        self._canvas.setFont("Helvetica-Bold" if bold else "Helvetica", size)
        self._canvas.drawRightString(right, HEIGHT - top, text)

    def rule(self, top: float) -> None:
        """A hairline across the page."""
        self._canvas.setStrokeColor(HexColor("#8899aa"))
        self._canvas.line(48, HEIGHT - top, WIDTH - 48, HEIGHT - top)

    def finish(self) -> bytes:
        """The PDF."""
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()


def _long_date(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _lines(paper: Paper, sample: Sample, top: float, headings: tuple[str, str, str, str]) -> float:
    paper.rule(top - 14)
    paper.write(54, top, headings[0], bold=True)
    for right, heading in zip((360, 450, 541), headings[1:], strict=True):
        paper.write_right(right, top, heading, bold=True)
    for line in sample.lines:
        top += 18
        paper.write(54, top, line.description)
        paper.write_right(360, top, str(line.quantity))
        paper.write_right(450, top, pounds(line.unit_pence))
        paper.write_right(541, top, pounds(line.total_pence))
    paper.rule(top + 10)
    return top + 30


def letterhead(sample: Sample) -> bytes:
    """Name and address at the top, labels left of values, registration in the footer."""
    paper = Paper()
    seller, buyer = sample.seller, sample.buyer
    paper.write(54, 60, seller.name, size=16, bold=True)
    paper.write(54, 76, ", ".join(seller.address))
    paper.write(54, 88, f"01632 960512 · {seller.email}")
    paper.write_right(541, 60, "INVOICE", size=16, bold=True)
    paper.write(54, 130, "Bill to", bold=True)
    for index, text in enumerate((buyer.name, *buyer.address, f"Company no. {buyer.company_number}")):
        paper.write(54, 143 + 12 * index, text)
    pairs = [("Invoice number", sample.number), ("Invoice date", _long_date(sample.issued))]
    if sample.due:
        pairs.append(("Payment due", _long_date(sample.due)))
    pairs += [("Payment terms", sample.terms_text), ("Purchase order", sample.purchase_order)]
    for index, (label, value) in enumerate(pairs):
        paper.write(340, 130 + 15 * index, label, bold=True)
        paper.write_right(541, 130 + 15 * index, value)
    top = _lines(paper, sample, 260, ("Description", "Qty", "Unit price", "Amount"))
    totals = [("Net", sample.net_pence), ("VAT at 20%", sample.vat_pence), ("Invoice total", sample.total_pence)]
    if sample.paid_pence:
        totals += [("Less deposit paid", sample.paid_pence), ("Balance due", sample.total_pence - sample.paid_pence)]
    for index, (label, pence) in enumerate(totals):
        paper.write(380, top + 16 * index, label, bold=index == 2)
        paper.write_right(541, top + 16 * index, pounds(pence), bold=index == 2)
    top += 16 * len(totals) + 30
    paper.write(54, top, f"Please pay by BACS to {seller.name}")
    paper.write(54, top + 13, f"Sort code {seller.sort_code}   Account number {seller.account_number}")
    paper.write(
        54,
        800,
        f"{seller.name}. Registered in England and Wales, company number {seller.company_number}. "
        f"VAT registration GB {seller.vat_number[2:5]} {seller.vat_number[5:9]} {seller.vat_number[9:]}",
        size=7.5,
    )
    return paper.finish()


def grid(sample: Sample) -> bytes:
    """Labels above values, totals side by side, numeric dates: the accounting-package look."""
    paper = Paper()
    seller, buyer = sample.seller, sample.buyer
    paper.write(54, 60, "TAX INVOICE", size=15, bold=True)
    for index, text in enumerate((seller.name, *seller.address)):
        paper.write(380, 60 + 12 * index, text)
    paper.write(54, 130, "Customer:", bold=True)
    for index, text in enumerate((buyer.name, *buyer.address, f"Company no. {buyer.company_number}")):
        paper.write(54, 143 + 12 * index, text)
    columns = (
        ("Invoice no.", sample.number),
        ("Tax point", f"{sample.issued:%d/%m/%Y}"),
        ("Your ref", sample.purchase_order),
    )
    for index, (label, value) in enumerate(columns):
        paper.write(54 + 130 * index, 232, label, bold=True)
        paper.write(54 + 130 * index, 246, value)
    top = _lines(paper, sample, 290, ("Details", "Units", "Each", "Net"))
    sums = (
        ("Total excluding VAT", sample.net_pence),
        ("VAT", sample.vat_pence),
        ("Total including VAT", sample.total_pence),
    )
    for index, (label, pence) in enumerate(sums):
        paper.write(160 + 140 * index, top, label, bold=True)
        paper.write(160 + 140 * index, top + 14, pounds(pence))
    paper.write(54, top + 60, f"Terms: {sample.terms_text}. Interest may be charged on late payment.")
    paper.write(
        54,
        top + 73,
        f"Account name: {seller.name}, sort code {seller.sort_code}, account no. {seller.account_number}",
    )
    paper.write(
        54,
        800,
        f"{seller.name}, registered in England and Wales no. {seller.company_number}, VAT no. {seller.vat_number}",
        size=7.5,
    )
    return paper.finish()


def credit_note(sample: Sample) -> bytes:
    """Credits part of a sample; printed without a minus, as they often are."""
    paper = Paper()
    paper.write(54, 60, sample.seller.name, size=16, bold=True)
    paper.write_right(541, 60, "CREDIT NOTE", size=16, bold=True)
    paper.write(54, 130, "Bill to", bold=True)
    paper.write(54, 143, sample.buyer.name)
    paper.write(340, 130, "Credit note no.", bold=True)
    paper.write(440, 130, "CN-0031")
    paper.write(340, 145, "Date", bold=True)
    paper.write(440, 145, _long_date(sample.issued))
    paper.write(340, 160, "Credits invoice", bold=True)
    paper.write(440, 160, sample.number)
    paper.write(380, 300, "Total credit", bold=True)
    paper.write_right(541, 300, pounds(sample.lines[0].unit_pence), bold=True)
    return paper.finish()


def ubl(sample: Sample) -> bytes:
    """UBL 2.1 with the Peppol BIS Billing 3 header."""

    def party(tag: str, of: Party) -> str:
        return f"""
  <cac:{tag}><cac:Party>
    <cbc:EndpointID schemeID="9932">{of.vat_number}</cbc:EndpointID>
    <cac:PostalAddress><cbc:StreetName>{escape(of.address[0])}</cbc:StreetName>
      <cbc:CityName>{escape(of.address[-2])}</cbc:CityName><cbc:PostalZone>{of.address[-1]}</cbc:PostalZone>
      <cac:Country><cbc:IdentificationCode>GB</cbc:IdentificationCode></cac:Country></cac:PostalAddress>
    <cac:PartyTaxScheme><cbc:CompanyID>{of.vat_number}</cbc:CompanyID>
      <cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:PartyTaxScheme>
    <cac:PartyLegalEntity><cbc:RegistrationName>{escape(of.name)}</cbc:RegistrationName>
      <cbc:CompanyID>{of.company_number}</cbc:CompanyID></cac:PartyLegalEntity>
  </cac:Party></cac:{tag}>"""

    def amount(tag: str, pence: int) -> str:
        return f'<cbc:{tag} currencyID="GBP">{decimal(pence)}</cbc:{tag}>'

    def category(tag: str) -> str:
        return (
            f"<cac:{tag}><cbc:ID>S</cbc:ID><cbc:Percent>20</cbc:Percent>"
            f"<cac:TaxScheme><cbc:ID>VAT</cbc:ID></cac:TaxScheme></cac:{tag}>"
        )

    lines = "".join(
        f"""
  <cac:InvoiceLine><cbc:ID>{index}</cbc:ID>
    <cbc:InvoicedQuantity unitCode="C62">{line.quantity}</cbc:InvoicedQuantity>
    {amount("LineExtensionAmount", line.total_pence)}
    <cac:Item><cbc:Name>{escape(line.description)}</cbc:Name>{category("ClassifiedTaxCategory")}</cac:Item>
    <cac:Price>{amount("PriceAmount", line.unit_pence)}</cac:Price>
  </cac:InvoiceLine>"""
        for index, line in enumerate(sample.lines, start=1)
    )
    names = "urn:oasis:names:specification:ubl:schema:xsd:"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Invoice xmlns="{names}Invoice-2" xmlns:cac="{names}CommonAggregateComponents-2" xmlns:cbc="{
        names
    }CommonBasicComponents-2">
  <cbc:CustomizationID>urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0</cbc:CustomizationID>
  <cbc:ProfileID>urn:fdc:peppol.eu:2017:poacc:billing:01:1.0</cbc:ProfileID>
  <cbc:ID>{escape(sample.number)}</cbc:ID>
  <cbc:IssueDate>{sample.issued}</cbc:IssueDate>
  <cbc:DueDate>{sample.due}</cbc:DueDate>
  <cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>
  <cbc:DocumentCurrencyCode>GBP</cbc:DocumentCurrencyCode>
  <cac:OrderReference><cbc:ID>{escape(sample.purchase_order)}</cbc:ID></cac:OrderReference>{
        party("AccountingSupplierParty", sample.seller)
    }{party("AccountingCustomerParty", sample.buyer)}
  <cac:PaymentMeans><cbc:PaymentMeansCode>30</cbc:PaymentMeansCode>
    <cac:PayeeFinancialAccount><cbc:ID>{sample.seller.account_number}</cbc:ID>
      <cac:FinancialInstitutionBranch><cbc:ID>{sample.seller.sort_code.replace("-", "")}</cbc:ID>
      </cac:FinancialInstitutionBranch></cac:PayeeFinancialAccount></cac:PaymentMeans>
  <cac:PaymentTerms><cbc:Note>{sample.terms_text}</cbc:Note></cac:PaymentTerms>
  <cac:TaxTotal>{amount("TaxAmount", sample.vat_pence)}
    <cac:TaxSubtotal>{amount("TaxableAmount", sample.net_pence)}{amount("TaxAmount", sample.vat_pence)}
      {category("TaxCategory")}</cac:TaxSubtotal></cac:TaxTotal>
  <cac:LegalMonetaryTotal>{amount("LineExtensionAmount", sample.net_pence)}
    {amount("TaxExclusiveAmount", sample.net_pence)}{amount("TaxInclusiveAmount", sample.total_pence)}
    {amount("PayableAmount", sample.total_pence)}</cac:LegalMonetaryTotal>{lines}
</Invoice>
""".encode()


def iban(party: Party) -> str:
    """A UK IBAN with right check digits for a bank that does not exist."""
    account = f"ZFTK{party.sort_code.replace('-', '')}{party.account_number}"
    check = 98 - int("".join(str(int(each, 36)) for each in f"{account}GB00")) % 97
    return f"GB{check:02d}{account}"


def cii(sample: Sample) -> bytes:
    """CII D16B, EN 16931 profile: what Factur-X embeds."""

    def party(tag: str, of: Party) -> str:
        return (
            f"<ram:{tag}><ram:Name>{escape(of.name)}</ram:Name>"
            f"<ram:SpecifiedLegalOrganization><ram:ID>{of.company_number}</ram:ID></ram:SpecifiedLegalOrganization>"
            f"<ram:PostalTradeAddress><ram:PostcodeCode>{of.address[-1]}</ram:PostcodeCode>"
            f"<ram:LineOne>{escape(of.address[0])}</ram:LineOne><ram:CityName>{escape(of.address[-2])}</ram:CityName>"
            f"<ram:CountryID>GB</ram:CountryID></ram:PostalTradeAddress>"
            f'<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">{of.vat_number}</ram:ID>'
            f"</ram:SpecifiedTaxRegistration></ram:{tag}>"
        )

    def moment(tag: str, day: date | None) -> str:
        return f'<ram:{tag}><udt:DateTimeString format="102">{day:%Y%m%d}</udt:DateTimeString></ram:{tag}>'

    tax = (
        "<ram:TypeCode>VAT</ram:TypeCode>{}<ram:CategoryCode>S</ram:CategoryCode>"
        "<ram:RateApplicablePercent>20</ram:RateApplicablePercent>"
    )
    lines = "".join(
        f"""
    <ram:IncludedSupplyChainTradeLineItem>
      <ram:AssociatedDocumentLineDocument><ram:LineID>{index}</ram:LineID></ram:AssociatedDocumentLineDocument>
      <ram:SpecifiedTradeProduct><ram:Name>{escape(line.description)}</ram:Name></ram:SpecifiedTradeProduct>
      <ram:SpecifiedLineTradeAgreement><ram:NetPriceProductTradePrice>
        <ram:ChargeAmount>{decimal(line.unit_pence)}</ram:ChargeAmount>
      </ram:NetPriceProductTradePrice></ram:SpecifiedLineTradeAgreement>
      <ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="C62">{line.quantity}</ram:BilledQuantity>
      </ram:SpecifiedLineTradeDelivery>
      <ram:SpecifiedLineTradeSettlement><ram:ApplicableTradeTax>{tax.format("")}</ram:ApplicableTradeTax>
        <ram:SpecifiedTradeSettlementLineMonetarySummation>
          <ram:LineTotalAmount>{decimal(line.total_pence)}</ram:LineTotalAmount>
        </ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement>
    </ram:IncludedSupplyChainTradeLineItem>"""
        for index, line in enumerate(sample.lines, start=1)
    )
    names = "urn:un:unece:uncefact:data:standard:"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rsm:CrossIndustryInvoice xmlns:rsm="{names}CrossIndustryInvoice:100"
    xmlns:ram="{names}ReusableAggregateBusinessInformationEntity:100" xmlns:udt="{names}UnqualifiedDataType:100">
  <rsm:ExchangedDocumentContext><ram:GuidelineSpecifiedDocumentContextParameter>
    <ram:ID>urn:cen.eu:en16931:2017</ram:ID>
  </ram:GuidelineSpecifiedDocumentContextParameter></rsm:ExchangedDocumentContext>
  <rsm:ExchangedDocument><ram:ID>{escape(sample.number)}</ram:ID><ram:TypeCode>380</ram:TypeCode>
    {moment("IssueDateTime", sample.issued)}</rsm:ExchangedDocument>
  <rsm:SupplyChainTradeTransaction>{lines}
    <ram:ApplicableHeaderTradeAgreement>{party("SellerTradeParty", sample.seller)}
      {party("BuyerTradeParty", sample.buyer)}
      <ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>{escape(sample.purchase_order)}</ram:IssuerAssignedID>
      </ram:BuyerOrderReferencedDocument></ram:ApplicableHeaderTradeAgreement>
    <ram:ApplicableHeaderTradeDelivery/>
    <ram:ApplicableHeaderTradeSettlement><ram:InvoiceCurrencyCode>GBP</ram:InvoiceCurrencyCode>
      <ram:SpecifiedTradeSettlementPaymentMeans><ram:TypeCode>30</ram:TypeCode>
        <ram:PayeePartyCreditorFinancialAccount><ram:IBANID>{iban(sample.seller)}</ram:IBANID>
        </ram:PayeePartyCreditorFinancialAccount></ram:SpecifiedTradeSettlementPaymentMeans>
      <ram:ApplicableTradeTax><ram:CalculatedAmount>{decimal(sample.vat_pence)}</ram:CalculatedAmount>
        {tax.format(f"<ram:BasisAmount>{decimal(sample.net_pence)}</ram:BasisAmount>")}</ram:ApplicableTradeTax>
      <ram:SpecifiedTradePaymentTerms><ram:Description>{sample.terms_text}</ram:Description>
        {moment("DueDateDateTime", sample.due)}</ram:SpecifiedTradePaymentTerms>
      <ram:SpecifiedTradeSettlementHeaderMonetarySummation>
        <ram:LineTotalAmount>{decimal(sample.net_pence)}</ram:LineTotalAmount>
        <ram:TaxBasisTotalAmount>{decimal(sample.net_pence)}</ram:TaxBasisTotalAmount>
        <ram:TaxTotalAmount currencyID="GBP">{decimal(sample.vat_pence)}</ram:TaxTotalAmount>
        <ram:GrandTotalAmount>{decimal(sample.total_pence)}</ram:GrandTotalAmount>
        <ram:DuePayableAmount>{decimal(sample.total_pence)}</ram:DuePayableAmount>
      </ram:SpecifiedTradeSettlementHeaderMonetarySummation></ram:ApplicableHeaderTradeSettlement>
  </rsm:SupplyChainTradeTransaction>
</rsm:CrossIndustryInvoice>
""".encode()


def factur_x(page: bytes, invoice_xml: bytes) -> bytes:
    """The page with the XML attached as Factur-X 1.0 asks (name, relationship); PDF/A conversion is not done."""
    with pikepdf.open(io.BytesIO(page)) as pdf:
        file = pdf.make_stream(invoice_xml)
        file.Type, file.Subtype = pikepdf.Name.EmbeddedFile, pikepdf.Name("/text/xml")
        spec = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Filespec,
                F=pikepdf.String("factur-x.xml"),
                UF=pikepdf.String("factur-x.xml"),
                AFRelationship=pikepdf.Name.Alternative,
                EF=pikepdf.Dictionary(F=file, UF=file),
            )
        )
        names = pikepdf.Array([pikepdf.String("factur-x.xml"), spec])
        pdf.Root.Names = pikepdf.Dictionary(EmbeddedFiles=pikepdf.Dictionary(Names=names))
        pdf.Root.AF = pikepdf.Array([spec])
        out = io.BytesIO()
        pdf.save(out, deterministic_id=True)
        return out.getvalue()


def outputs() -> dict[str, bytes]:
    """Every file of the set: path below samples/invoices, and its bytes."""
    layouts: dict[str, Callable[[Sample], bytes]] = {
        "harbour-signage.pdf": letterhead,
        "kelp-print-month-end.pdf": grid,
        "ferry-events-part-paid.pdf": letterhead,
        "millrace-foods.xml": ubl,
    }
    files = {name: make(INVOICES[Path(name).stem]) for name, make in layouts.items()}
    tern = INVOICES["tern-instruments"]
    altered = replace(tern, lines=(replace(tern.lines[0], quantity=5), *tern.lines[1:]))
    files["tern-instruments.pdf"] = factur_x(letterhead(tern), cii(tern))
    files["review/tern-instruments-mismatch.pdf"] = factur_x(letterhead(altered), cii(tern))
    files["refused/credit-note.pdf"] = credit_note(INVOICES["harbour-signage"])
    for stem, sample in INVOICES.items():
        files[f"{stem}.json"] = (json.dumps(truth(sample), indent=2, ensure_ascii=False) + "\n").encode()
    return files


if __name__ == "__main__":
    for name, content in outputs().items():
        target = HERE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        print(f"{len(content):>7}  {name}")
