"""Routes of tokenisation. None moves a token: business elsewhere does, and a recovery that an MLRO has allowed."""

from fastapi import APIRouter

from fintokenx.lifecycle.tokenisation.http import recoveries, tokens

router = APIRouter()
router.include_router(tokens.router)
router.include_router(recoveries.router)
