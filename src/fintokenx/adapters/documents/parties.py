"""Who sells, who buys, and their register, VAT and bank numbers, from where they stand on the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from fintokenx.adapters.documents import labels
from fintokenx.adapters.documents.labels import Page
from fintokenx.adapters.documents.layout import Cell
from fintokenx.adapters.documents.values import (
    COMPANY_NUMBER,
    bank_details_of_iban,
    is_company,
    is_payee,
    name_key,
    normalise_company_number,
    normalise_vat,
    same_name,
)
from fintokenx.lifecycle.invoice.ports import PartyOnPaper

_SUFFIX: Final = r"(?i:ltd|limited|plc|p\.l\.c|llp|lp|cic|c\.i\.c|cyf|cyfyngedig|ccc)"
_NAME: Final = rf"(?P<name>[A-Z0-9][\w&'’.,()+/ -]{{0,90}}?\s{_SUFFIX}\b)\.?"
_COMPANY: Final = re.compile(rf"{_NAME}(?=$|\s*[,(:–-]|\s+(?i:t/a|trading|is|reg|registered|company|co|vat)\b)")
_TRADES_FOR: Final = re.compile(rf"(?i:\btrading\s+(?:name|style|division)\s+of|\bon\s+behalf\s+of)\s+{_NAME}")
_PAY_TO: Final = re.compile(
    r"(?:(?i:account\s+name|a/c\s+name|account\s+holder|payee|beneficiary(?:\s+name)?|in\s+the\s+name\s+of|bacs(?:\s+to)?"
    r"|payable\s+(?:only\s+)?to|(?:transfer|remit(?:tances?)?)\s+to|please\s+pay"
    r"|pay(?:ments?)?(?:\s+(?:should|must|to|is\s+to))?(?:\s+be)?(?:\s+made)?(?:\s+only)?\s+to))"
    rf"\s*:?\s*{_NAME}"
)
_STATEMENT: Final = re.compile(
    r"(?i)\bregistered\s+(?:in|at|office|no|number)|\breg(?:\.|istration)?\s*(?:no|number)|\bcompany\s+(?:no|number|reg)"
)
_NOT_A_NAME: Final = re.compile(r"(?i)^(?:f\.?a\.?o|attn|attention|for the attention|accounts?\b|c/o|finance\b|\d)")
_COMPANY_NUMBER: Final = re.compile(
    r"(?i:\b(?:compan(?:y|ies\s+house)(?:\s+reg(?:istration|istered|\.)?)?|co\.?(?:\s+reg\.?)?|crn"
    r"|reg(?:istered|istration|d|\.)?(?:\s+(?:in|at)\s+[A-Za-z&, ]{3,45}?)?(?:\s+(?:under|with))?(?:\s+company)?)"
    r"[\s:,.(#)–-]*(?:(?:registration|registered|reg\.?)\s*)?(?:(?:no|number|num|nr)\b)?[\s:,.(#)–-]*)"
    rf"(?P<number>{COMPANY_NUMBER})(?![\w]|[\s-]\d)"
)
_VAT: Final = re.compile(
    r"(?i)(?:\bvat\b[\s.:]*(?:(?:registration|registered|reg|identification|in|id|number|num|no|nr)\b[\s.:#]*)*"
    r"(?P<labelled>(?:GB[\s-]?)?\d{3}[\s.-]?\d{4}[\s.-]?\d{2})|\b(?P<bare>GB\s?\d{3}\s?\d{4}\s?\d{2}))(?!\d)"
)
_SORT_CODE: Final = re.compile(r"(?i)\bsort[\s-]*code\b[^0-9A-Za-z]{0,6}(\d{2})[\s–-]?(\d{2})[\s–-]?(\d{2})(?![\d/-])")
_ACCOUNT: Final = re.compile(
    r"(?i)(?<!customer )(?<!your )(?<!client )\b(?:account|acct?|a/c)\b\.?\s*(?:(?:number|num|no|nr|n)\b\.?|\#)"
    r"[^0-9A-Za-z]{0,6}(\d{4}\s?\d{4})(?!\d)"
)
_ACCOUNT_WEAK: Final = re.compile(r"(?i)\b(?:account|acct?|a/c)\b[^0-9A-Za-z]{0,4}(\d{4}\s?\d{4})(?!\d)")
_IBAN: Final = re.compile(r"\bGB\d{2}\s?[A-Z]{4}(?:\s?\d{2,4}){4,7}")
_WEAK_REACH: Final = 60
"""How many characters may lie between a sort code and a bare "account 12345678" that belongs to it."""


@dataclass(slots=True)
class Parties:
    """What the page says; doubts where it says several things."""

    seller: PartyOnPaper = field(default_factory=PartyOnPaper)
    buyer: PartyOnPaper = field(default_factory=PartyOnPaper)
    sort_code: str | None = None
    account_number: str | None = None
    doubts: list[str] = field(default_factory=list)


def find_parties(page: Page) -> Parties:
    """Read both parties and the payee's account."""
    found = Parties()
    blocks, buyer_name = _buyer(page)
    inside = {(cell.row, cell.left) for cell in blocks}
    outside = [cell for cell in page.layout.cells if (cell.row, cell.left) not in inside]
    seller_name = _seller_name(page, outside, buyer_name, found.doubts)
    found.buyer = PartyOnPaper(
        name=buyer_name,
        company_number=_single(_company_numbers(page, blocks), "buyer.company_number", found.doubts),
        vat_number=_single(_vat_numbers(page, blocks), "buyer.vat_number", found.doubts),
    )
    buyers = {found.buyer.company_number, found.buyer.vat_number}
    found.seller = PartyOnPaper(
        name=seller_name,
        company_number=_single(_company_numbers(page, outside) - buyers, "seller.company_number", found.doubts),
        vat_number=_single(_vat_numbers(page, outside) - buyers, "seller.vat_number", found.doubts),
    )
    found.sort_code, found.account_number = _bank(page, found.doubts)
    return found


def _single(values: set[str | None], name: str, doubts: list[str]) -> str | None:
    """The only value. A number whose check digits do not hold arrives here as None: that is a doubt too."""
    if len(values) > 1:
        doubts.append(f"AMBIGUOUS:{name}")
        return None
    value = next(iter(values), None)
    if values and value is None:
        doubts.append(f"UNREADABLE:{name}")
    return value


def _buyer(page: Page) -> tuple[list[Cell], str | None]:
    """The address block under "Bill to" and its like, and the name that heads it."""
    for labelled in (labels.BUYER_INLINE, labels.BUYER_ALONE):
        for cell in page.layout.cells:
            match = labelled[0].match(cell.text)
            if not match:
                continue
            rest = cell.text[match.end() :]
            if labelled is labels.BUYER_ALONE and rest.strip() and not rest.lstrip().startswith(":"):
                continue
            block, name = _addressee(page, cell, rest.lstrip(" :–-"))
            if name:
                return block, name
    return [], None


def _addressee(page: Page, label: Cell, rest: str) -> tuple[list[Cell], str | None]:
    under = page.below(label, lines=3)
    block = page.block(under) if under else []
    right = page.right_of(label)
    if rest:
        return [label, *block], _party_name([rest, *(cell.text for cell in block)])
    if company := next((name for cell in block[:3] if (name := _company_name(cell.text))), None):
        return block, company
    if right and (company := _company_name(right.text)):
        return page.block(right), company
    return block, _party_name([cell.text for cell in block])


def _party_name(lines: list[str]) -> str | None:
    """The company among the first three lines; without one, the first line if it can be a name."""
    if company := next((name for line in lines[:3] if (name := _company_name(line))), None):
        return company
    first = lines[0].strip() if lines else ""
    can_be = first[:1].isalpha() and not _NOT_A_NAME.match(first) and ":" not in first and not labels.is_label(first)
    return first if can_be and len(lines) > 1 and len(first) <= 100 else None


def _company_name(text: str) -> str | None:
    match = _COMPANY.match(text.strip())
    return match["name"] if match else None


def _seller_name(page: Page, outside: list[Cell], buyer: str | None, doubts: list[str]) -> str | None:
    """The law makes a company state its name with its number; that wins over label, payee and letterhead."""
    payees = [name for name in _payees(page, outside) if not (buyer and same_name(name, buyer))]
    letterhead = next((name for cell in outside if cell.page == 0 and (name := _company_name(cell.text))), None)
    sources = [
        list(_statements(page, outside)),
        list(_labelled_sellers(page)),
        [*payees, *([letterhead] if letterhead else [])],
    ]
    for source in sources:
        names = [name for name in source if not (buyer and same_name(name, buyer))]
        if len({name_key(name) for name in names}) > 1:
            doubts.append("AMBIGUOUS:seller.name")
            return None
        if names:
            own = [*names, *_brands(page)]
            if any(not is_payee(payee, own) for payee in [*payees, *_account_names(page, buyer)]):
                doubts.append("PAYEE_IS_NOT_SELLER")
            spellings = [*names, *payees, *([letterhead] if letterhead else [])]
            return next((each for each in spellings if same_name(each, names[0]) and not each.isupper()), names[0])
    return None


def _statements(page: Page, outside: list[Cell]) -> Iterator[str]:
    """``X Ltd, registered in England and Wales no. …`` on one row; ``Y is a trading name of X Ltd``."""
    for cell in outside:
        if trades := _TRADES_FOR.search(cell.text):
            yield trades["name"]
            continue
        row = " ".join(other.text for other in page.layout.rows[cell.row] if other.left >= cell.left)
        name = _company_name(cell.text)
        if name and _STATEMENT.search(row[len(name) : len(name) + 90]):
            yield name


def _labelled_sellers(page: Page) -> Iterator[str]:
    for cell in page.layout.cells:
        match = labels.SELLER_ALONE[0].match(cell.text)
        if not match:
            continue
        rest = cell.text[match.end() :].lstrip(" :–-")
        under = page.below(cell, lines=3)
        texts = [rest] if rest else [each.text for each in page.block(under)[:2]] if under else []
        yield from (name for text in texts if (name := _company_name(text)))


def _payees(page: Page, outside: list[Cell]) -> Iterator[str]:
    yield from (match["name"] for cell in outside if (match := _PAY_TO.search(cell.text)))
    yield from (found.value for found in page.find(labels.ACCOUNT_NAME, _company_name))


def _brands(page: Page) -> list[str]:
    """What heads the first page, unless that is a company's name: a brand in which the seller may hold its account."""
    return [cell.text for row in page.layout.rows[:3] for cell in row if cell.page == 0 and not is_company(cell.text)]


def _account_names(page: Page, buyer: str | None) -> Iterator[str]:
    """The names of accounts, companies' or not; a person's is a stranger's, too."""
    for found in page.find(labels.ACCOUNT_NAME, _account_name):
        if not (buyer and same_name(found.value, buyer)):
            yield found.value


def _account_name(text: str) -> str | None:
    company = _company_name(text)
    return company or (text.strip() if re.fullmatch(r"[^\W\d_][^\d:]{2,60}", text.strip()) else None)


def _reach(page: Page, cell: Cell) -> str:
    """The cell, the rest of its row, and the line under it: a label's value is one of these."""
    row = " ".join(other.text for other in page.layout.rows[cell.row] if other.left >= cell.left)
    under = page.below(cell)
    return f"{row} {under.text}" if under else row


def _company_numbers(page: Page, cells: list[Cell]) -> set[str | None]:
    numbers: set[str | None] = set()
    for cell in cells:
        for match in _COMPANY_NUMBER.finditer(_reach(page, cell)):
            if match.start() < len(cell.text):
                numbers.add(normalise_company_number(match["number"]))
    return numbers


def _vat_numbers(page: Page, cells: list[Cell]) -> set[str | None]:
    numbers: set[str | None] = set()
    for cell in cells:
        for match in _VAT.finditer(_reach(page, cell)):
            if match.start() < len(cell.text):
                numbers.add(normalise_vat(match["labelled"] or match["bare"]))
    return numbers


def _bank(page: Page, doubts: list[str]) -> tuple[str | None, str | None]:
    """Sort code and account number, together or not at all; an IBAN must agree with them."""
    texts = [page.layout.flow, *(_reach(page, cell) for cell in page.layout.cells)]
    sort_codes = {"".join(match.groups()) for text in texts for match in _SORT_CODE.finditer(text)}
    sort_codes |= {found.value for found in page.find(_SORT_CODE_LABEL, _sort_code)}
    accounts = {_digits(match[1]) for text in texts for match in _ACCOUNT.finditer(text)}
    accounts |= {found.value for found in page.find(_ACCOUNT_LABEL, _account_number)}
    if not accounts:
        accounts = {account for text in texts for account in _accounts_by_sort_code(text)}
    ibans = {details for match in _IBAN.finditer(page.layout.flow) if (details := bank_details_of_iban(match.group()))}
    sort_codes |= {details[0] for details in ibans}
    accounts |= {details[1] for details in ibans} if sort_codes else set()
    if len(sort_codes) > 1 or len(accounts) > 1:
        doubts.append("AMBIGUOUS:account_number")
        return None, None
    return (next(iter(sort_codes), None), next(iter(accounts), None)) if sort_codes and accounts else (None, None)


_SORT_CODE_LABEL: Final = (re.compile(r"(?i)^sort[\s-]*code\b"),)
_ACCOUNT_LABEL: Final = (re.compile(r"(?i)^(?:bank\s+)?(?:account|acct?|a/c)\b\.?\s*(?:number|num|no|nr|n|\#)\b\.?"),)


def _sort_code(text: str) -> str | None:
    match = re.fullmatch(r"(\d{2})[\s–-]?(\d{2})[\s–-]?(\d{2})", text.strip())
    return "".join(match.groups()) if match else None


def _account_number(text: str) -> str | None:
    return _digits(text) if re.fullmatch(r"\d{4}\s?\d{4}", text.strip()) else None


def _accounts_by_sort_code(text: str) -> Iterator[str]:
    for code in _SORT_CODE.finditer(text):
        nearby = text[max(0, code.start() - _WEAK_REACH) : code.end() + _WEAK_REACH]
        yield from (_digits(match[1]) for match in _ACCOUNT_WEAK.finditer(nearby))


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)
