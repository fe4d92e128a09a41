"""The sums of EN 16931-1 §6.4.2 (BR-CO-10 … 16) as one table, for XML and page alike. Amounts in pence.

In XML every amount that a rule needs must be there. A page prints what its seller likes: of its rules those
hold whose amounts are printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """``whole`` is the sum of ``plus`` less the sum of ``minus``, give or take ``tolerance_pence``."""

    id: str
    whole: str
    plus: tuple[str, ...]
    minus: tuple[str, ...]
    doubt: str
    tolerance_pence: int = 0
    """EN 16931 grants none: amounts have two decimals and are added exactly."""


RULES: Final = (
    Rule("BR-CO-10", "BT-106", ("BT-131",), (), "LINES_DO_NOT_ADD_UP"),
    Rule("BR-CO-11", "BT-107", ("BT-92",), (), "ALLOWANCES_DO_NOT_ADD_UP"),
    Rule("BR-CO-12", "BT-108", ("BT-99",), (), "CHARGES_DO_NOT_ADD_UP"),
    Rule("BR-CO-13", "BT-109", ("BT-131", "BT-108"), ("BT-107",), "NET_DOES_NOT_ADD_UP"),
    Rule("BR-CO-14", "BT-110", ("BT-117",), (), "VAT_DOES_NOT_ADD_UP"),
    Rule("BR-CO-15", "BT-112", ("BT-109", "BT-110"), (), "TOTALS_DO_NOT_ADD_UP"),
    Rule("BR-CO-16", "BT-115", ("BT-112", "BT-114"), ("BT-113",), "PAYABLE_DIFFERS_FROM_TOTAL"),
)
DOUBTS: Final = tuple(rule.doubt for rule in RULES)

ABSENT_IS_NOUGHT: Final = frozenset({"BT-92", "BT-99", "BT-107", "BT-108", "BT-110", "BT-113", "BT-114"})
"""Optional terms: no allowance, charge, VAT, payment or rounding is one of nought."""
_MAY_BE_ABSENT: Final = frozenset({"BT-117"})
"""Without a VAT breakdown its rule says nothing."""


def broken(amounts: Mapping[str, int], *, complete: bool) -> list[str]:
    """The doubts of every rule that does not hold, and ``SUM_LACKS:BT-…`` for an amount that should be there.

    ``complete``: the document has to state all amounts (XML), not only some (a page).
    """
    doubts: list[str] = []
    for rule in RULES:
        missing = [
            term for term in (rule.whole, *rule.plus, *rule.minus) if term not in amounts.keys() | ABSENT_IS_NOUGHT
        ]
        if missing:
            doubts += [f"SUM_LACKS:{term}" for term in missing if complete and term not in _MAY_BE_ABSENT]
        elif not holds(rule, amounts):
            doubts.append(rule.doubt)
    return list(dict.fromkeys(doubts))


def holds(rule: Rule, amounts: Mapping[str, int]) -> bool:
    """Whether the sum is what is stated; an amount that is absent counts as nought."""
    parts = sum(amounts.get(term, 0) for term in rule.plus) - sum(amounts.get(term, 0) for term in rule.minus)
    return abs(amounts.get(rule.whole, 0) - parts) <= rule.tolerance_pence
