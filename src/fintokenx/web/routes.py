"""Who may call a route: declared where the route stands, held at the edge, and told in OpenAPI.

The commands behind a route refuse by themselves (:meth:`fintokenx.kernel.caller.Caller.must_be`);
tests/inputs/test_callers.py holds the two to each other, role by role.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request

from fintokenx.kernel.caller import Caller, Role, WrongRole

OFFICERS: Final = (Role.MLRO, Role.COMPLIANCE)
OVERSEERS: Final = (Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN, *OFFICERS)
"""Whoever looks at the whole of a tenant."""
CUSTOMERS: Final = (Role.SELLER, Role.BUYER, Role.LENDER, Role.INVESTOR, Role.BROKER)
EVERYBODY: Final = (*CUSTOMERS, *OVERSEERS)
ANYONE: Final = "anyone"

MEMBER: Final = "x-who-may-call"
"""The member of an operation in OpenAPI, and of a route's ``openapi_extra``."""
SESSION: Final[dict[str, list[str]]] = {"session": []}
API_KEY: Final[dict[str, list[str]]] = {"apiKey": []}
TOGETHER: Final = {**SESSION, **API_KEY}


def may_call(*roles: Role, both: bool = False, in_person: bool = False) -> dict[str, Any]:
    """The ``openapi_extra=`` of a route for these roles. An API key by itself calls as partner_admin.

    ``both``: a session and an API key together. ``in_person``: an API key by itself does not do.
    """
    by_key = Role.PARTNER_ADMIN in roles and not in_person and not both
    security = [TOGETHER] if both else [SESSION, *([API_KEY] if by_key else []), TOGETHER]
    return {MEMBER: [role.value for role in roles], "security": security}


def open_to(who: str = ANYONE) -> dict[str, Any]:
    """The ``openapi_extra=`` of a route without credentials of ours."""
    return {MEMBER: [who], "security": []}


def refuse_others(request: Request, caller: Caller) -> None:
    """:raises WrongRole: the route says for whom it is, and the caller is another. An administrator in somebody's place
    counts as that one. The platform itself is no caller from outside, and is left to the command; so is half of the
    credentials where both are needed, since the command names the half that is missing."""
    extra = getattr(request.scope.get("route"), "openapi_extra", None) or {}
    roles = extra.get(MEMBER)
    if roles is None or caller.party_role is Role.SYSTEM:
        return
    if extra.get("security") == [TOGETHER] and (caller.subject_id is None or not caller.has_api_key):
        return
    if caller.party_role not in roles:
        raise WrongRole(f"this needs the role {' or '.join(roles)}")
