"""Routes of invoices: the API for sellers, staff, and whoever acts for a buyer."""

from fastapi import APIRouter

from fintokenx.lifecycle.invoice.http import api, documents, for_buyer, review
from fintokenx.lifecycle.invoice.http.services import InvoiceServices

router = APIRouter()
router.include_router(api.router)
router.include_router(documents.router)
router.include_router(review.router)
router.include_router(for_buyer.router)

__all__ = ["InvoiceServices", "router"]
