"""A credential that never changes, for tests of what only uses one."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FixedCredential:
    """Implements ``kernel.credentials.Credential``."""

    text: str = field(repr=False)

    async def value(self) -> str:
        return self.text

    async def accepted(self) -> tuple[str, ...]:
        return (self.text,)
