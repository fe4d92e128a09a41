"""Other papers than the demo's: a UBL file lives to its end, others come as far as their reader lets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fintokenx.app.api_client import Api, ApiRefused, eventually
from fintokenx.app.cast import Company
from fintokenx.app.demo import Outcome, Story
from fintokenx.app.demo_paper import Paper
from tests.story.house import SAMPLES, running, story_of, the_day_after
from tests.support import ROOT

pytestmark = pytest.mark.anyio

UBL = Paper.read(SAMPLES / "millrace-foods.xml")
TERN = Paper.read(SAMPLES / "tern-instruments.pdf")
LONG_DUE = ROOT / "tests" / "data" / "invoices" / "05-uk-date-order.pdf"
KELP = Paper.read(SAMPLES / "kelp-print-month-end.pdf")
CAST = (
    Company("saltmarsh", "buyer", *TERN.buyer, "990889", "20000089"),
    Company("tern", "seller", *TERN.seller, *TERN.seller_account),
    Company("kelp", "seller", *KELP.seller, *KELP.seller_account),
)


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of each paper."""

    mismatch: dict[str, Any]
    case: dict[str, Any]
    withdrawn: dict[str, Any]
    credit_note: dict[str, Any]
    overdue: ApiRefused
    factur_x: dict[str, Any]
    terms_only: dict[str, Any]
    ubl: Outcome


@pytest.fixture(scope="module")
async def heard() -> AsyncIterator[Heard]:
    """All papers on one system that starts the day after the newest of them; the UBL file's story to its end."""
    async with running(the_day_after(TERN)) as system, aclosing(story_of(system, UBL)) as story:
        await story.tell(until="people")
        await story.enrol(*CAST)
        tern, kelp = await story.signed_in("tern"), await story.signed_in("kelp")
        mismatch = await _read(story, tern, TERN, SAMPLES / "review" / "tern-instruments-mismatch.pdf")
        cases = await story.mlro.get("/v1/cases", limit=100)
        [case] = [case for case in cases["items"] if case["resource"] == mismatch["reference"]]
        withdrawn = await tern.post(f"/v1/invoices/{mismatch['reference']}/withdraw", {}, key="withdraw")
        credit_note = await _read(story, tern, TERN, SAMPLES / "refused" / "credit-note.pdf")
        with pytest.raises(ApiRefused) as overdue:
            await _read(story, tern, Paper.read(LONG_DUE), LONG_DUE)
        factur_x = await _read(story, tern, TERN, TERN.path)
        terms_only = await _read(story, kelp, KELP, KELP.path)
        yield Heard(
            mismatch, case, withdrawn, credit_note, overdue.value, factur_x, terms_only,
            await story.tell(since="upload"),
        )  # fmt: skip


async def _read(story: Story, seller: Api, declared: Paper, file: Path) -> dict[str, Any]:
    """The invoice once its document has been read."""
    invoice = await seller.upload(
        "/v1/invoices",
        name=file.name,
        content=file.read_bytes(),
        declared=declared.declaration(story.subjects["saltmarsh"]),
        key=f"upload-{file.name}",
    )

    async def read() -> Any:
        now = await seller.get(f"/v1/invoices/{invoice['reference']}")
        return now if now["state"] not in ("SUBMITTED", "EXTRACTING") else None

    found: dict[str, Any] = await eventually(f"{file.name} read", read, seconds=30)
    return found


async def test_a_ubl_file_lives_to_its_end(heard: Heard) -> None:
    assert (heard.ubl.invoice_state, heard.ubl.token_state) == ("SETTLED", "BURNED")
    assert not heard.ubl.trial_difference
    assert heard.ubl.entries == heard.ubl.entries_proved >= 11


async def test_a_factur_x_file_reaches_its_buyer(heard: Heard) -> None:
    assert heard.factur_x["state"] == "AWAITING_BUYER"


async def test_a_paper_that_states_its_terms_instead_of_a_due_date_reaches_its_buyer(heard: Heard) -> None:
    assert heard.terms_only["state"] == "AWAITING_BUYER"
    assert heard.terms_only["maturity_date"] == "2026-06-30"


async def test_a_hybrid_whose_page_and_data_disagree_goes_to_a_person(heard: Heard) -> None:
    assert heard.mismatch["state"] == "IN_REVIEW"
    assert heard.case["state"] == "OPEN"


async def test_a_seller_takes_back_what_is_in_review_and_may_use_its_number_again(heard: Heard) -> None:
    assert heard.withdrawn["state"] == "WITHDRAWN"
    assert heard.factur_x["invoice_number"] == heard.withdrawn["invoice_number"]


async def test_a_credit_note_is_no_invoice(heard: Heard) -> None:
    assert heard.credit_note["state"] == "REJECTED"


async def test_an_invoice_that_is_due_already_is_refused(heard: Heard) -> None:
    assert (heard.overdue.status, heard.overdue.code) == (422, "MATURITY_IN_PAST")
