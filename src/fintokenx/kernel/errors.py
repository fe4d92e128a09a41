"""Named refusals with a machine code and an HTTP status; the edge turns them into RFC 9457 problems (P-24)."""

from __future__ import annotations

from typing import Any, ClassVar


class Refused(Exception):
    """Base of every anticipated "no". Subclasses stand beside the function that raises them.

    The docstring of a subclass is its title for people; ``code`` is for machines and never changes.
    ``detail`` must hold nothing that the caller may not see.
    """

    code: ClassVar[str] = "REFUSED"
    status: ClassVar[int] = 409

    def __init__(self, detail: str = "", **members: Any) -> None:
        self.detail = detail
        self.members = members
        super().__init__(detail or self.title())

    @classmethod
    def title(cls) -> str:
        """One sentence for people."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class NotFound(Refused):
    """There is nothing here that you may see."""

    code = "NOT_FOUND"
    status = 404


class Forbidden(Refused):
    """You may not do this."""

    code = "FORBIDDEN"
    status = 403


class Unauthenticated(Refused):
    """Your credentials are missing, expired or not ours."""

    code = "UNAUTHENTICATED"
    status = 401


class Invalid(Refused):
    """The request does not make sense as it stands."""

    code = "INVALID_REQUEST"
    status = 422


class Unavailable(Exception):
    """An outside system did not answer usefully. Not a refusal: nothing is known, so nothing is concluded.

    ``outcome_unknown`` says that the request may have taken effect; the caller must look it up before
    sending it again. ``answers`` says that it is there and cannot do what it is for.
    """

    answers: ClassVar[bool] = False

    def __init__(self, system: str, detail: str, *, outcome_unknown: bool = True) -> None:
        self.system = system
        self.detail = detail
        self.outcome_unknown = outcome_unknown
        super().__init__(f"{system}: {detail}")
