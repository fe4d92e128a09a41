"""The mock bank refuses what its vendors refuse, and says what is wrong with what its control routes are given."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fintokenx.sandbox.providers.bank_book import account_id
from tests.adapters.bank_house import LENDER, PAYMENTS_TOKEN, SELLER, House, bank_house, sign

pytestmark = pytest.mark.anyio

PAYER = {"sort_code": LENDER.sort_code, "account_number": LENDER.account_number}
PAYEE = {"sort_code": SELLER.sort_code, "account_number": SELLER.account_number}
PAYMENT = {"from": PAYER, "to": PAYEE, "amount_pence": 100, "reference": "INV 1"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with bank_house(tmp_path / "bank.jsonl") as running:
        await running.open_account(LENDER, 10_000)
        await running.open_account(SELLER)
        yield running


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("accounts", b"", 422, "body"),
        ("accounts", b"{", 422, "body"),
        ("accounts", b"[]", 422, "body"),
        ("accounts", {}, 422, "sort_code"),
        ("accounts", {"sort_code": 1}, 422, "sort_code"),
        ("accounts", {**PAYEE, "name": ""}, 422, "name"),
        ("accounts", {**PAYEE, "sort_code": "04-04-04", "name": "X"}, 422, "sort_code"),
        ("accounts", {**PAYEE, "name": "X", "balance_pence": 1.5}, 422, "balance_pence"),
        ("accounts", {**PAYEE, "name": "X", "balance_pence": -1}, 422, "balance_pence"),
        ("accounts", {**PAYEE, "name": "X", "shows_times": "no"}, 422, "shows_times"),
        ("accounts", {**PAYEE, "name": "X", "colour": "red"}, 422, "colour"),
        ("accounts", {**PAYEE, "name": "X"}, 409, "open"),
        ("habits", {**PAYEE, "account_number": "00000000"}, 404, "no such account"),
        ("habits", {**PAYEE, "narration_length": -1}, 422, "narration_length"),
        ("payments", {**PAYMENT, "from": None}, 422, "from"),
        ("payments", {**PAYMENT, "to": {"sort_code": "040404"}}, 422, "to.account_number"),
        ("payments", {**PAYMENT, "amount_pence": "100"}, 422, "amount_pence"),
        ("payments", {**PAYMENT, "amount_pence": 0}, 422, "amount_pence"),
        ("payments", {**PAYMENT, "reference": None}, 422, "reference"),
        ("payments", {**PAYMENT, "from": {**PAYER, "account_number": "00000000"}}, 404, "no such account"),
        ("payments", {**PAYMENT, "amount_pence": 10_001}, 409, "insufficient funds"),
        ("payments", {**PAYMENT, "to": PAYER}, 409, "one account"),
        ("returns", {}, 422, "end_to_end_id"),
        ("returns", {"end_to_end_id": "unknown", "code": "AC04"}, 404, "no such payment"),
        ("fates", {}, 422, "fate"),
        ("fates", {"fate": "explode"}, 422, "fate"),
        ("fates", {"fate": "MS03", "times": "two"}, 422, "times"),
        ("oddities", {**PAYEE, "transaction": []}, 422, "transaction"),
        ("oddities", {**PAYEE, "account_number": "00000000", "transaction": {}}, 404, "no such account"),
        ("adjustments", {**PAYEE}, 422, "amount_pence"),
    ],
)
async def test_a_control_route_names_what_is_wrong(
    house: House, path: str, body: bytes | dict[str, Any], status: int, named: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await house.http.post(f"/control/{path}", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["title"]


async def test_how_an_account_shows_can_change_and_the_change_survives_the_bank(house: House) -> None:
    habits = {"shows_transaction_ids": False, "narration_length": 3, "shows_times": False}
    await house.control("habits", {**PAYEE, **habits})
    await house.control("payments", PAYMENT)
    house.time_passes(1)
    [seen] = await house.information().credits(SELLER, house.clock.now().replace(hour=0))
    assert (seen.narration, seen.booked_at.hour) == ("INV", 0)


# ── ClearBank


def transfer(**changes: Any) -> dict[str, Any]:
    """A transfer that the bank takes, but for the changes."""
    number = {
        "identification": "04040422222222",
        "schemeName": {"code": None, "proprietary": "PRTY_COUNTRY_SPECIFIC"},
        "issuer": "VocaLink",
    }
    made = {
        "paymentIdentification": {"instructionIdentification": "i-1", "endToEndIdentification": "e-1"},
        "amount": {"instructedAmount": 1.5, "currency": "GBP"},
        "creditor": {"name": "Oak & Sons Ltd"},
        "creditorAccount": {"identification": {"iban": None, "other": number}},
        "remittanceInformation": {"structured": {"creditorReferenceInformation": {"reference": "INV 42"}}},
        "enforceSendToScheme": False,
    }
    return made | changes


def order(*transfers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A request with one instruction."""
    number = {"identification": "04040411111111", "schemeName": {"code": "BBAN"}}
    made = {
        "paymentInstructionIdentification": "p-1",
        "paymentTypeCode": "SIP",
        "debtor": {"address": "GB, London, EC1A 1AA, 1 High St"},
        "debtorAccount": {"identification": {"other": number}},
        "creditTransfers": list(transfers),
    }
    return {"paymentInstructions": [made | changes]}


async def pay(house: House, content: bytes, **headers: str) -> httpx.Response:
    signature = base64.b64encode(await sign(content)).decode()
    whole = {"Authorization": f"Bearer {PAYMENTS_TOKEN}", "Content-Type": "application/json", "X-Request-Id": "r-1"}
    whole |= {"DigitalSignature": signature} | headers
    return await house.http.post("/v3/payments/fps", content=content, headers=whole)


def spelled(document: Any) -> bytes:
    return json.dumps(document).encode()


async def test_an_order_as_the_schema_says_is_taken(house: House) -> None:
    answer = await pay(house, spelled(order(transfer())))
    assert answer.status_code == 202
    assert answer.json()["transactions"] == [{"endToEndIdentification": "e-1", "response": "Accepted"}]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"X-Request-Id": ""}, 400),
        ({"X-Request-Id": "r" * 84}, 400),
        ({"DigitalSignature": base64.b64encode(b"x" * 256).decode()}, 400),
    ],
)
async def test_a_request_without_its_headers_is_refused(house: House, headers: dict[str, str], status: int) -> None:
    answer = await pay(house, spelled(order(transfer())), **headers)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert await house.instruction("e-1") is None


def with_amount(text: str) -> bytes:
    return spelled(order(transfer())).replace(b'"instructedAmount": 1.5', f'"instructedAmount": {text}'.encode())


def _account(**identification: Any) -> dict[str, Any]:
    return {"creditorAccount": {"identification": identification}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"paymentInstructions": []}',
        b'{"paymentInstructions": {}}',
        spelled(order()),
        spelled(order(*[transfer() for _ in range(11)])),
        spelled({"paymentInstructions": order(transfer())["paymentInstructions"] * 11}),
        spelled(order(transfer(), paymentTypeCode="FAST")),
        spelled(order(transfer(), debtor={"address": ""})),
        spelled(order(transfer(creditor={"name": "株式会社"}))),
        spelled(order(transfer(creditor={"name": "x" * 141}))),
        spelled(order(transfer(enforceSendToScheme="no"))),
        spelled(order(transfer(amount={"instructedAmount": 1.5}))),
        spelled(order(transfer(amount={"instructedAmount": 1.5, "currency": "pound"}))),
        spelled(order(transfer(**_account(iban="GB33BUKB20201555555555", other=None)))),
        spelled(order(transfer(**_account(other={"identification": "0404042222222", "schemeName": {"code": "BBAN"}})))),
        spelled(order(transfer(**_account(other={"identification": "04040422222222", "schemeName": {}})))),
        spelled(order(transfer(**_account(other={"identification": "04040422222222", "schemeName": {"code": "X"}})))),
        *(with_amount(text) for text in ('"1.50"', "-1.50", "1.505", "1e2", "NaN", "null", "true")),
    ],
)
async def test_a_body_that_is_not_as_the_schema_says_is_refused(house: House, content: bytes) -> None:
    answer = await pay(house, content)
    assert (answer.status_code, answer.json()["title"]) == (422, "The request is not valid")
    assert await house.instruction("e-1") is None


@pytest.mark.parametrize(
    "query",
    [
        "pageNumber=0",
        "pageNumber=one",
        "pageSize=0",
        "pageSize=1001",
        "pageSize=-1",
        "startDateTime=2026-03-01T00:00:00Z",
        "pageNumber=1&pageNumber=2",
    ],
)
@pytest.mark.parametrize("place", ["/v2/Accounts", "/v2/Accounts/{account}/Transactions"])
async def test_a_parameter_that_makes_no_sense_or_is_not_served_is_refused(
    house: House, place: str, query: str
) -> None:
    """A filter that is passed over would look as if it had been obeyed."""
    path = place.format(account=account_id("clearbank", SELLER.sort_code + SELLER.account_number))
    headers = {"Authorization": f"Bearer {PAYMENTS_TOKEN}"}
    assert (await house.http.get(path, headers=headers)).status_code == 200
    assert (await house.http.get(f"{path}?{query}", headers=headers)).status_code == 400
