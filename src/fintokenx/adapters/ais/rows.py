"""Rows of an Open Banking list as types. A row that is not as the standard says refuses its list, whatever it is: what
cannot be read may be a credit. Source: OBTransaction6, OBCashBalance1, OBReadAccount6 of version 3.1.11; the code
lists OBEntryStatus1Code of 3.1 and ExternalEntryStatus1Code, which 4.0 took over from ISO 20022."""

from __future__ import annotations

import re
from typing import Any, Final

from fintokenx.kernel.clock import Instant, from_wire
from fintokenx.kernel.money import PENCE_MAX, Pence
from fintokenx.lifecycle.settlement.ports import BankCredit

NARRATION_LENGTH_MAX: Final = 500
_AMOUNT: Final = re.compile(r"(\d{1,13})(?:\.(\d{1,5}))?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_ACCOUNT_ID: Final = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.\-]{1,40}", re.ASCII)
"""In a form that cannot change the path of a URL."""

_IS_BOOKED: Final = {
    "Booked": True, "Pending": False, "Rejected": False,
    "BOOK": True, "PDNG": False, "RJCT": False, "INFO": False, "FUTR": False,
}  # fmt: skip
_IS_CREDIT: Final = {"Credit": True, "Debit": False}


def ids_by_number(rows: list[Any]) -> dict[str, str]:
    """Sort code and account number (14 digits) to AccountId.

    :raises KeyError, TypeError, ValueError, AttributeError: a row that cannot be read
    """
    ids: dict[str, str] = {}
    for row in rows:
        if not _ACCOUNT_ID.fullmatch(row["AccountId"]):
            raise ValueError("AccountId")
        for name in row.get("Account") or []:
            if name["SchemeName"] != "UK.OBIE.SortCodeAccountNumber":
                continue
            if ids.setdefault(name["Identification"], row["AccountId"]) != row["AccountId"]:
                raise ValueError("two accounts with one number")
    return ids


def booked_credits(rows: list[Any], account_id: str) -> tuple[list[BankCredit], int]:
    """The booked sterling credits among the transactions of an account, and how many there are in other currencies. A
    row that is on two pages, because a page moved while it was read, counts once.

    :raises KeyError, TypeError, ValueError, AttributeError: a row that cannot be read, or one id on two transactions
    """
    by_id: dict[str, BankCredit] = {}
    unnamed: list[BankCredit] = []
    foreign = 0
    for row in rows:
        credit = _booked_credit(row, account_id)
        if credit is None:
            continue
        if row["Amount"]["Currency"] != "GBP":
            foreign += 1
        elif not credit.transaction_id:
            unnamed.append(credit)
        elif by_id.setdefault(credit.transaction_id, credit) != credit:
            raise ValueError("one transaction id on two transactions")
    return [*by_id.values(), *unnamed], foreign


def _booked_credit(row: Any, account_id: str) -> BankCredit | None:
    """None for what is on its way, refused or a debit; every row is read whole before that is said of it."""
    _must_be_of(row, account_id)
    is_booked, is_credit = _IS_BOOKED[row["Status"]], _IS_CREDIT[row["CreditDebitIndicator"]]
    booked_at = from_wire(row["BookingDateTime"])
    currency, amount = _currency(row["Amount"]), row["Amount"]["Amount"]
    _form(amount)
    # The standard has no field for the payer's id: TransactionReference is the scheme's own payment id.
    supplement = row.get("SupplementaryData") or {}
    credit = BankCredit(
        transaction_id=_text(row.get("TransactionId")),
        amount=pence_from_amount(amount) if is_booked and is_credit and currency == "GBP" else Pence(0),
        booked_at=booked_at,
        narration=_text(row.get("TransactionInformation"))[:NARRATION_LENGTH_MAX],
        end_to_end_id=_text(supplement.get("EndToEndIdentification")),
        bank_reference=_text(row.get("TransactionReference")),
    )
    return credit if is_booked and is_credit else None


def booked_balance(rows: list[Any], account_id: str) -> tuple[Pence, Instant]:
    """What is booked on the account now, overdrawn below zero, and of when: ``InterimBooked`` (ISO 20022 ITBD, "booked
    in the account currently"), without any credit line. ``ClosingBooked`` is of the last evening, and available
    balances count money on its way.

    :raises KeyError, TypeError, ValueError, AttributeError: there is not exactly one such balance, or a row that
        cannot be read
    """
    found = []
    for row in rows:
        _must_be_of(row, account_id)
        at, is_credit = from_wire(row["DateTime"]), _IS_CREDIT[row["CreditDebitIndicator"]]
        currency, amount = _currency(row["Amount"]), row["Amount"]["Amount"]
        _form(amount)
        if _text(row["Type"]) in ("InterimBooked", "ITBD") and currency == "GBP":
            if any(line["Included"] is not False for line in row.get("CreditLine") or []):
                raise ValueError("a booked balance with a credit line in it")
            found.append((pence_from_amount(amount) if is_credit else -pence_from_amount(amount), at))
    if len(found) != 1:
        raise ValueError("one booked balance in sterling")
    return found[0]


def pence_from_amount(text: Any) -> Pence:
    """Read an Open Banking amount (pounds, up to five decimals, unsigned). :raises ValueError: not whole pence"""
    whole, fraction = _form(text)
    fraction = fraction.ljust(2, "0")
    if fraction[2:].strip("0"):
        raise ValueError("an amount must be whole pence")
    pence = int(whole) * 100 + int(fraction[:2])
    if pence > PENCE_MAX:
        raise ValueError("an amount must be recordable")
    return Pence(pence)


def _form(text: Any) -> tuple[str, str]:
    """Whole units and decimals. :raises ValueError: not in the form of the standard"""
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("an amount has the form of the standard")
    return match[1], match[2] or ""


def _currency(amount: Any) -> str:
    code = _text(amount["Currency"])
    if not _CURRENCY.fullmatch(code):
        raise ValueError("Currency")
    return code


def _must_be_of(row: Any, account_id: str) -> None:
    if row["AccountId"] != account_id:
        raise ValueError("a row of another account")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value.strip()
