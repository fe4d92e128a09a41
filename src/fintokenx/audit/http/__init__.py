"""Routes of the record: trails and evidence for those who may see them, the open log for everybody."""

from fastapi import APIRouter

from fintokenx.audit.http import open_log, taxonomy, trails
from fintokenx.audit.http.services import AuditServices

router = APIRouter()
router.include_router(trails.router)
router.include_router(taxonomy.router)
router.include_router(open_log.router)

__all__ = ["AuditServices", "router"]
