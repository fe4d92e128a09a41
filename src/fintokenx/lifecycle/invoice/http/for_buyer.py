"""What an administrator does for a buyer who cannot open its link: look at the page, then confirm it (AD-16)."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from fintokenx.kernel.caller import Role, WrongRole
from fintokenx.kernel.db import Tx
from fintokenx.kernel.machine import IllegalTransition
from fintokenx.lifecycle.invoice.http.api import InvoiceView
from fintokenx.lifecycle.invoice.http.services import InvoiceServices, services
from fintokenx.lifecycle.invoice.service import confirm
from fintokenx.lifecycle.invoice.types import (
    AlreadyConfirmed,
    Document,
    Invoice,
    NotYourInvoice,
    PageChanged,
    UnknownInvoice,
)
from fintokenx.parties import kyc
from fintokenx.web.edge import Mutation, mutation, problems
from fintokenx.web.inputs import Reference, Sha256Hex
from fintokenx.web.routes import may_call

router = APIRouter(tags=["invoices"])

Command = Annotated[Mutation, Depends(mutation)]
Needs = Annotated[InvoiceServices, Depends(services)]


class PageView(BaseModel):
    """The page that the buyer would see."""

    model_config = ConfigDict(extra="forbid")
    html: str = Field(description="The page.")
    page_hash: str = Field(description="SHA-256 of the page, hex; the confirmation names it.")


class Confirmation(BaseModel):
    """Which page is confirmed."""

    model_config = ConfigDict(extra="forbid")
    page_hash: Sha256Hex = Field(description="Of the page that was shown.")


@router.post(
    "/v1/invoices/{reference}/confirmation-page",
    response_model=PageView,
    responses=problems(NotYourInvoice, UnknownInvoice, AlreadyConfirmed, IllegalTransition, WrongRole),
    openapi_extra=may_call(Role.BUYER),
)
async def show_page(reference: Reference, command: Command, needs: Needs) -> Response:
    """Show and archive the buyer's page to an administrator who acts for it."""
    caller = command.caller
    caller.must_be(Role.BUYER, tenant_id=caller.tenant_id)
    async with command.edge.database.transaction(caller.tenant_id, request_id=command.request_id) as tx:
        content = needs.page_content(await confirm.confirmation_page(tx, caller, reference=reference))
    blob = await needs.blobs.put(caller.tenant_id, "confirmation_page", content)
    archived = Document("confirmation_page", blob.storage_ref, blob.sha256, blob.size_bytes)

    async def view(tx: Tx) -> PageView:
        await confirm.record_page_view(tx, caller, reference=reference, page=archived)
        return PageView(html=content.decode(), page_hash=archived.sha256)

    return await command.run(view, shown=lambda page: page)


@router.post(
    "/v1/invoices/{reference}/confirmation",
    response_model=InvoiceView,
    responses=problems(
        NotYourInvoice, UnknownInvoice, AlreadyConfirmed, IllegalTransition, PageChanged, WrongRole,
        kyc.SubjectNotActive,
    ), openapi_extra=may_call(Role.BUYER))  # fmt: skip
async def confirm_for_buyer(reference: Reference, body: Confirmation, command: Command, needs: Needs) -> Response:
    """Confirm for the buyer that an administrator acts for; the buyer's link is dead from then on."""
    caller = command.caller
    caller.must_be(Role.BUYER, tenant_id=caller.tenant_id)
    ip_sealed = await needs.sealer.seal(caller.tenant_id, caller.must_be_subject(), "ip", caller.ip or "unknown")

    async def take(tx: Tx) -> Invoice:
        page = await confirm.confirmation_page(tx, caller, reference=reference)
        if hashlib.sha256(needs.page_content(page)).hexdigest() != body.page_hash:
            raise PageChanged
        return await confirm.confirm(
            tx, caller, reference=reference, page_hash=body.page_hash, ip_sealed=ip_sealed, link=None
        )

    return await command.run(take, shown=InvoiceView.of)
