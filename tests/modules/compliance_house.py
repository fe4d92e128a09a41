"""Subjects, cases and decisions for the tests of modules that open cases."""

from __future__ import annotations

from fintokenx.kernel.caller import Caller, Role, system
from fintokenx.kernel.sealing import Sealer
from fintokenx.parties import auth, compliance
from tests.support import World

A, B = "tnt_alpha", "tnt_beta"

MLRO = Caller(A, Role.MLRO, "sub_mlro", "sub_mlro")

SYSTEM = system(A, "test")

WORDS = "Hit is a namesake: other date of birth, other country."


async def new_subject(
    world: World, *, number: str = "01234567", name: str = "Acme Ltd", tenant_id: str = A
) -> auth.Subject:
    """A seller that has done nothing yet."""
    async with world.database.transaction(tenant_id) as tx:
        return await auth.create_subject(
            tx,
            system(tenant_id, "test"),
            subject_id=world.ids.new("sub"),
            role=Role.SELLER,
            legal_name=name,
            company_number=number,
            person=None,
        )


async def decide(
    world: World,
    sealer: Sealer,
    case: compliance.Case,
    *,
    caller: Caller = MLRO,
    decision: compliance.Decision = compliance.Decision.APPROVE,
    words: str = WORDS,
) -> compliance.Case:
    """Seal the reasons, then decide."""
    rationale = await compliance.seal_rationale(sealer, case, A, words)
    async with world.database.transaction(A) as tx:
        return await compliance.decide(tx, caller, case_id=case.id, decision=decision, rationale=rationale)
