"""Settings that a production system may be run with."""

from __future__ import annotations

from typing import Any

from fintokenx.kernel.settings import Environment

GOOD: dict[str, Any] = {
    "environment": Environment.PRODUCTION,
    "public_url": "https://fintokenx.example",
    "listen_host": "0.0.0.0",
    "listen_port": 8000,
    "database_url": "postgresql://db.internal:5432/fintokenx",
    "vault": "pkcs11:/usr/lib/softhsm.so",
    "blobs_url": "s3://bucket/prefix",
    "chain_rpc_urls": ("https://rpc.example",),
    "chain_id": 1,
    "chain_deployment": "deployment.json",
    "sumsub_url": "https://api.sumsub.com",
    "complyadvantage_url": "https://api.complyadvantage.com",
    "bank_url": "https://institution-api.clear.bank",
    "open_banking_url": "https://openbanking.example",
    "smtp_host": "smtp.example",
    "smtp_port": 587,
}
