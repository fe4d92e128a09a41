"""A token of two lenders, on both sides."""

from __future__ import annotations

from fintokenx.lifecycle import tokenisation
from fintokenx.lifecycle.tokenisation.ports import (
    TransferToken,
)
from tests.modules.tokens_house import FACE, TENANT
from tests.reconciliation.house import Town


async def split(town: Town) -> tuple[tokenisation.Token, str, str]:
    """A token of two lenders, on both sides: no command splits yet, so both are done by hand (TK-09)."""
    ann, ben, *_ = town.lenders
    await town.register(ann, ben)
    token = await town.held(ann)
    wallets = [await town.house.wallet(lender) for lender in (ann, ben)]
    part = FACE - FACE.at_basis_points_rounded_up(4_000)
    await town.call(
        TransferToken(wallets[0].key_name, wallets[0].address, wallets[1].address, token.token_id, FACE - part)
    )
    await town.tamper("tokens", f"update app.tokens set state = 'FRACTIONALISED' where reference = '{token.reference}'")
    rows = [(0, part, ann, wallets[0].address), (1, FACE - part, ben, wallets[1].address)]
    await town.tamper(
        "slices",
        *(
            "insert into app.slices (tenant_id, id, token_reference, index, face_pence, holder_subject_id,"
            f" holder_wallet) values ('{TENANT}', 'slc_{index}', '{token.reference}', {index}, {face.value},"
            f" '{lender}', '{wallet}')"
            for index, face, lender, wallet in rows
        ),
    )
    assert (await town.reconciled()).equal
    return token, wallets[0].address, wallets[1].address
