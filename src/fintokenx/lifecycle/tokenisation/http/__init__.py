"""Routes of tokenisation: all of them read; tokens move by business elsewhere."""

from fastapi import APIRouter

from fintokenx.lifecycle.tokenisation.http import explorer, pages, tokens

router = APIRouter()
router.include_router(tokens.router)
router.include_router(explorer.router)
router.include_router(pages.router)
