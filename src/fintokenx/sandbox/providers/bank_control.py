"""What a test or a demo may do with the mock bank beside the vendors' surfaces.

What cannot be read is 422 and names the member that is wrong; what does not fit the book is 409, what is not in it 404.
"""

from __future__ import annotations

from collections import deque
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fintokenx.sandbox.providers.bank_answers import Refusal, problem
from fintokenx.sandbox.providers.bank_book import HOLD, RETURN, SETTLE, Book

_PENCE_MAX: Final = 2**53 - 1
_REJECTS: Final = r"[A-Z][A-Z0-9]{3}|CB_[A-Za-z]{1,60}"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Body_ = TypeVar("_Body_", bound=_Body)
_Amount = Annotated[int, Field(ge=1, le=_PENCE_MAX)]


class _Number(_Body):
    sort_code: str = Field(pattern=r"^[0-9]{6}$")
    account_number: str = Field(pattern=r"^[0-9]{8}$")

    @property
    def key(self) -> str:
        return self.sort_code + self.account_number


class _Habits(_Number):
    """How an account shows on Open Banking. ``narration_length``: of a narration this much; None: all of it."""

    passes_end_to_end: bool = True
    shows_transaction_ids: bool = True
    shows_references: bool = True
    shows_times: bool = True
    narration_length: int | None = Field(None, ge=0, le=500)

    def habits(self) -> dict[str, bool | int | None]:
        """Those that were named."""
        named = self.model_fields_set - {"sort_code", "account_number"}
        return {name: getattr(self, name) for name in sorted(named & _Habits.model_fields.keys())}


class _Account(_Habits):
    name: str = Field(min_length=1, max_length=350)
    balance_pence: int = Field(0, ge=0, le=_PENCE_MAX)


class _Payment(_Body):
    debtor: _Number = Field(alias="from")
    creditor: _Number = Field(alias="to")
    amount_pence: _Amount
    reference: str = Field(max_length=500)
    end_to_end_id: str = Field("", max_length=35)
    name: str = Field("", max_length=350)


class _Return(_Body):
    end_to_end_id: str = Field(min_length=1, max_length=35)
    code: str = Field(min_length=1, max_length=40)


class _Fates(_Body):
    fate: str = Field(pattern=rf"^({SETTLE}|{HOLD}|{RETURN}|{_REJECTS})$")
    times: int = Field(1, ge=1, le=1_000)


class _Oddity(_Number):
    transaction: dict[str, Any]


class _Adjustment(_Number):
    amount_pence: int = Field(ge=-_PENCE_MAX, le=_PENCE_MAX)


class Control:
    """The control routes over one book; ``fates`` are those of the next payments."""

    def __init__(self, book: Book, fates: deque[str]) -> None:
        self._book = book
        self._fates = fates

    def routes(self) -> list[Route]:
        """Where they are found."""
        return [
            Route("/control/accounts", self._open_account, methods=["POST"]),
            Route("/control/accounts/{sort_code}/{account_number}", self._account, methods=["GET"]),
            Route("/control/habits", self._change_habits, methods=["POST"]),
            Route("/control/payments", self._pay, methods=["POST"]),
            Route("/control/returns", self._send_back, methods=["POST"]),
            Route("/control/fates", self._set_fates, methods=["POST"]),
            Route("/control/oddities", self._show_oddity, methods=["POST"]),
            Route("/control/adjustments", self._adjust, methods=["POST"]),
            Route("/control/instructions", self._instructions, methods=["GET"]),
        ]

    async def _open_account(self, request: Request) -> Response:
        wanted = await _body(request, _Account)
        try:
            account = self._book.open_account(
                wanted.sort_code, wanted.account_number, wanted.name, wanted.balance_pence, **wanted.habits()
            )
        except ValueError as error:
            return problem(409, str(error))
        return JSONResponse(account.as_json(), status_code=201)

    async def _account(self, request: Request) -> Response:
        self._book.settle_due()
        account = self._book.accounts.get(request.path_params["sort_code"] + request.path_params["account_number"])
        return JSONResponse(account.as_json()) if account else problem(404, "no such account")

    async def _change_habits(self, request: Request) -> Response:
        """From now on the account, its earlier lines too, shows like this: a bank that completes what it has shown."""
        wanted = await _body(request, _Habits)
        self._must_be_open(wanted)
        self._book.change_habits(wanted.key, wanted.habits())
        return JSONResponse({})

    async def _pay(self, request: Request) -> Response:
        """Somebody pays at their own bank."""
        wanted = await _body(request, _Payment)
        self._must_be_open(wanted.debtor)
        if wanted.debtor.key == wanted.creditor.key:
            return problem(409, "payer and payee are one account")
        payment = self._book.draft(
            channel="elsewhere", end_to_end_id=wanted.end_to_end_id, debtor=wanted.debtor.key,
            creditor=wanted.creditor.key, creditor_name=wanted.name, amount_pence=wanted.amount_pence,
            reference=wanted.reference, fate=SETTLE,
        )  # fmt: skip
        if not self._book.can_spend(wanted.debtor.key, wanted.amount_pence):
            return problem(409, "insufficient funds")
        self._book.accept(request_id="", delivered=[], payments=[payment])
        return JSONResponse({"payment_id": payment.payment_id, "end_to_end_id": payment.end_to_end_id}, status_code=202)

    async def _send_back(self, request: Request) -> Response:
        """The payee's bank returns a settled payment of ours."""
        wanted = await _body(request, _Return)
        payment = self._book.earlier("clearbank", wanted.end_to_end_id)
        if payment is None:
            return problem(404, "no such payment")
        try:
            self._book.send_back(payment, wanted.code)
        except ValueError as error:
            return problem(409, str(error))
        return JSONResponse({"payment_id": payment.payment_id})

    async def _set_fates(self, request: Request) -> Response:
        """What becomes of the next accepted payments: a reject code, settle, hold or return."""
        wanted = await _body(request, _Fates)
        self._fates.extend([wanted.fate] * wanted.times)
        return JSONResponse({"waiting": list(self._fates)})

    async def _show_oddity(self, request: Request) -> Response:
        """An Open Banking transaction that is shown as given, first; it moves no money in the book."""
        wanted = await _body(request, _Oddity)
        self._must_be_open(wanted)
        self._book.show_oddity(wanted.key, wanted.transaction)
        return JSONResponse({}, status_code=201)

    async def _adjust(self, request: Request) -> Response:
        """Money that is more or less on the account, and no line says why."""
        wanted = await _body(request, _Adjustment)
        self._must_be_open(wanted)
        self._book.adjust(wanted.key, wanted.amount_pence)
        return JSONResponse({"balance_pence": self._book.accounts[wanted.key].balance_pence})

    async def _instructions(self, _: Request) -> Response:
        """Every end-to-end id that was submitted: how often it arrived, how often it moved money (P-15)."""
        self._book.settle_due()
        paid = self._book.debits_booked("clearbank")
        rows = []
        for end_to_end_id, deliveries in self._book.deliveries.items():
            payment = self._book.earlier("clearbank", end_to_end_id)
            row: dict[str, Any] = {
                "endToEndId": end_to_end_id,
                "deliveries": deliveries,
                "effects": paid[end_to_end_id],
            }
            if payment is not None:
                row |= {"payment_id": payment.payment_id, "status": payment.status, "code": payment.code}
                row |= {"debtor": payment.debtor, "creditor": payment.creditor, "amount_pence": payment.amount_pence}
                row |= {"creditor_name": payment.creditor_name, "reference": payment.reference}
                row |= {"returned": bool(payment.returned_at)}
            rows.append(row)
        return JSONResponse({"instructions": rows})

    def _must_be_open(self, number: _Number) -> None:
        if number.key not in self._book.accounts:
            raise Refusal(problem(404, f"no such account: {number.sort_code} {number.account_number}"))


async def _body(request: Request, model: type[_Body_]) -> _Body_:
    """:raises Refusal: 422, and which member is wrong"""
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        errors = [
            {"member": ".".join(str(part) for part in found["loc"]) or "body", "message": found["msg"]}
            for found in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        title = "; ".join(f"{found['member']}: {found['message']}" for found in errors)
        raise Refusal(problem(422, title, code="INVALID_REQUEST", errors=errors)) from error
