"""Money is integer pence in its own type (P-08); parts always add up to the whole (P-09)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

PENCE_MAX: Final = 2**53 - 1
"""RFC 8785 (canonical JSON) is exact up to this integer, so no amount may be larger."""

BASIS_POINTS: Final = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Pence:
    """An amount of sterling in whole pence. May be negative in arithmetic; never a float, never divided."""

    value: int

    def __post_init__(self) -> None:
        if type(self.value) is not int:
            raise TypeError(f"pence are whole integers, not {type(self.value).__name__}")
        if abs(self.value) > PENCE_MAX:
            raise ValueError(f"pence beyond ±{PENCE_MAX} cannot be recorded exactly")

    def __add__(self, other: Pence) -> Pence:
        return Pence(self.value + other.value)

    def __sub__(self, other: Pence) -> Pence:
        return Pence(self.value - other.value)

    def __neg__(self) -> Pence:
        return Pence(-self.value)

    def __bool__(self) -> bool:
        return self.value != 0

    def __str__(self) -> str:
        pounds, pence = divmod(abs(self.value), 100)
        return f"{'-' if self.value < 0 else ''}£{pounds:,}.{pence:02d}"

    def at_basis_points_rounded_up(self, basis_points: int) -> Pence:
        """The share of this amount at a rate in basis points, rounded up to the next whole penny."""
        return Pence(-(-self.value * basis_points // BASIS_POINTS))

    def share_between(self, weights: Sequence[int]) -> list[Pence]:
        """Split in proportion to whole-number weights; the parts add up to the whole.

        Largest remainder gets the odd pennies, ties to the lowest index (decisions §5).

        :raises ValueError: no weights, a negative weight, or all weights zero
        """
        total = sum(weights)
        if not weights or total <= 0 or min(weights) < 0:
            raise ValueError("weights must be non-negative and not all zero")
        floors = [self.value * weight // total for weight in weights]
        remainders = [self.value * weight % total for weight in weights]
        odd_pennies = self.value - sum(floors)
        by_remainder = sorted(range(len(weights)), key=lambda index: (-remainders[index], index))
        for index in by_remainder[:odd_pennies]:
            floors[index] += 1
        return [Pence(part) for part in floors]

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """At the edge a JSON integer and nothing else: no 12.5, "12.50", 1e3, true or 2^63 (P-08)."""
        bounded = core_schema.int_schema(strict=True, ge=-PENCE_MAX, le=PENCE_MAX)
        return core_schema.no_info_plain_validator_function(
            cls._from_edge,
            json_schema_input_schema=bounded,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda pence: pence.value, return_schema=core_schema.int_schema()
            ),
        )

    @classmethod
    def _from_edge(cls, value: Any) -> Pence:
        if isinstance(value, Pence):
            return value
        if type(value) is not int:
            raise ValueError("an amount is a whole number of pence, written as a JSON integer")
        return cls(value)


ZERO: Final = Pence(0)


def total(amounts: Sequence[Pence]) -> Pence:
    """The sum; zero for none."""
    return Pence(sum(amount.value for amount in amounts))


def flat_discount(face: Pence, discount_bps: int) -> Pence:
    """The discount for the whole tenor: ``ceil(face × bps / 10,000)`` (decisions §5, requirements Q12)."""
    return face.at_basis_points_rounded_up(discount_bps)


def annual_discount(face: Pence, discount_bps: int, days: int) -> Pence:
    """The discount per annum, act/365: ``ceil(face × bps × days / (10,000 × 365))`` (decisions §5)."""
    return Pence(-(-face.value * discount_bps * days // (BASIS_POINTS * 365)))
