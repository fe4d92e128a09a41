"""The buyer's desk: the page behind a magic link on which an invoice is confirmed or declined."""

from fintokenx.desks.buyer.pages import BuyerServices, page_content, router

__all__ = ["BuyerServices", "page_content", "router"]
