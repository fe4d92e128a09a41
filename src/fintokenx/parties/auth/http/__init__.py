"""Routes of auth: sessions and subjects, the second factor, admin sessions."""

from fintokenx.parties.auth.http import admin, mfa, sessions
from fintokenx.parties.auth.http.sessions import authentication, router

router.include_router(mfa.router)
router.include_router(admin.router)

__all__ = ["authentication", "router", "sessions"]
