"""Typed look-ups in an XML invoice. What is there but cannot be read, or says several things, becomes a doubt."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final

from lxml import etree

from fintokenx.adapters.documents.amounts import decimal_to_pence
from fintokenx.adapters.documents.values import bank_details_of_iban
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import NotAnInvoice

_NAMESPACES: Final = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_NEVER_NEGATIVE: Final = ("BT-109", "BT-110", "BT-112")


class Source:
    """The document in one currency. Amounts collect in ``amounts`` by their EN 16931 term, in pence."""

    def __init__(self, root: etree._Element) -> None:
        self._root = root
        self.currency = ""
        self.amounts: dict[str, int] = {}
        self.doubts: list[str] = []

    def nodes(self, path: str, within: etree._Element | None = None) -> list[etree._Element]:
        """The elements at the path."""
        return list((self._root if within is None else within).findall(path, _NAMESPACES))

    def texts(self, path: str) -> list[str]:
        """The non-empty texts at the path, stripped. A text with elements in it is none."""
        texts = []
        for node in self.nodes(path):
            if len(node):
                self.doubts.append(f"UNREADABLE:{etree.QName(node).localname}")
            elif node.text and node.text.strip():
                texts.append(node.text.strip())
        return texts

    def one(self, path: str, name: str) -> str | None:
        """The only text at the path; several different ones are a doubt and no answer."""
        return self.only(set(self.texts(path)), name)

    def only(self, values: set[str], name: str) -> str | None:
        """The only value."""
        if len(values) > 1:
            self.doubts.append(f"AMBIGUOUS:{name}")
        return next(iter(values)) if len(values) == 1 else None

    def dates(self, name: str, parse: Callable[[str], date | None], *paths: str) -> set[date]:
        """Every different date at the paths."""
        found = [parse(text) for path in paths for text in self.texts(path)]
        if None in found:
            self.doubts.append(f"UNREADABLE:{name}")
        return {each for each in found if each}

    def amount(self, term: str, name: str, path: str) -> Pence | None:
        """An amount in the document's currency, or without one, in whole pence.

        :raises NotAnInvoice: a negative net, VAT or gross total
        """
        pence = {decimal_to_pence(text) for text in self._money(self.nodes(path))}
        value = next(iter(pence), None)
        if value is None or len(pence) > 1:
            self.doubts += [f"UNREADABLE:{name}" if None in pence else f"AMBIGUOUS:{name}"] if pence else []
            return None
        if value < 0 and term in _NEVER_NEGATIVE:
            raise NotAnInvoice("it asks for less than nothing")
        self.amounts[term] = value
        return Pence(value)

    def add_up(self, term: str, nodes: list[etree._Element], *, expected: int | None = None) -> None:
        """Add these amounts to a term, if there are any and, where ``expected`` is given, that many."""
        texts = self._money(nodes)
        pence = [decimal_to_pence(text) for text in texts]
        if None in pence:
            self.doubts.append(f"UNREADABLE:{term}")
        elif texts and expected in (None, len(texts)):
            self.amounts[term] = self.amounts.get(term, 0) + sum(value or 0 for value in pence)

    def _money(self, nodes: list[etree._Element]) -> list[str]:
        """The texts of amounts; those in another currency are left to `check_currencies`."""
        return [
            (node.text or "").strip() if not len(node) else "?"
            for node in nodes
            if node.get("currencyID", self.currency) == self.currency
        ]

    def checked(self, texts: list[str], name: str, normalise: Callable[[str], str | None]) -> str | None:
        """The only value that normalises; present but invalid is a doubt, and so are several."""
        values = {value for text in texts if (value := normalise(text))}
        if texts and not values:
            self.doubts.append(f"UNREADABLE:{name}")
        return self.only(values, name)

    def check_currencies(self, accounting_currency: str | None) -> None:
        """Every amount is in the document's currency, but for the VAT total in the accounting currency (BT-111)."""
        for node in self._root.iter("{*}*"):
            currency = node.get("currencyID")
            if currency is None or currency == self.currency:
                continue
            vat = (
                node
                if etree.QName(node).localname == "TaxTotalAmount"
                else next(node.iterancestors("{*}TaxTotal"), None)
            )
            if vat is None or currency != accounting_currency:
                self.doubts.append("MIXED_CURRENCIES")
                return

    def bank(self, accounts: set[str], branches: set[str]) -> tuple[str | None, str | None]:
        """Sort code and account number: BT-84 is an IBAN or a number; BT-86 may be a sort code, or a BIC."""
        from_ibans = {text: bank_details_of_iban(text) for text in accounts}
        pairs = {details for details in from_ibans.values() if details}
        numbers = {re.sub(r"[\s-]", "", text) for text, details in from_ibans.items() if not details}
        plain = {number for number in numbers if re.fullmatch("[0-9]{8}", number)}
        codes = {code for text in branches if re.fullmatch("[0-9]{6}", code := re.sub(r"[\s-]", "", text))}
        if numbers - plain:
            self.doubts.append("UNREADABLE:account_number")
            return None, None
        codes |= {details[0] for details in pairs}
        plain |= {details[1] for details in pairs}
        if len(codes) > 1 or len(plain) > 1:
            self.doubts.append("AMBIGUOUS:account_number")
            return None, None
        return next(iter(codes), None), next(iter(plain), None)
