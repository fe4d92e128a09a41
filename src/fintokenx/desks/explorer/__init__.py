"""The explorer's desk: a holder's own tokens, transfers and anchors in a browser, once for each link."""

from fintokenx.desks.explorer.pages import ExplorerPageServices, router

__all__ = ["ExplorerPageServices", "router"]
