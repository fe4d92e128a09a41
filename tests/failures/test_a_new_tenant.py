"""A tenant that a command makes while the platform runs is served within a minute: its keys, its people, the checks of
its companies, and money that nobody expects (PA-01)."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from fintokenx.app.api_client import Api, eventually
from tests.failures.house import House

pytestmark = pytest.mark.anyio

TENANT = "tnt_severn"
SORT_CODE, ACCOUNT = "990010", "20000002"


async def fintokenx(house: House, *arguments: str) -> str:
    """What a command of the product prints."""
    command = [sys.executable, "-m", "fintokenx.app.cli", *arguments, "--system", house.system.name]
    environment = {**os.environ, "FX_HOME": str(house.home)}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    told, faults = await process.communicate()
    assert process.returncode == 0, faults.decode()
    return told.decode().strip()


async def test_a_tenant_made_by_a_command_is_served_within_a_minute(house: House) -> None:
    pid = house.platform_pid
    account = ("--sort-code", SORT_CODE, "--account-number", ACCOUNT)
    assert await fintokenx(house, "tenants", "create", TENANT, "--name", "Severn Trade", *account) == TENANT
    assert TENANT in await fintokenx(house, "tenants", "list", "--json")
    key = await fintokenx(house, "keys", "create", "--tenant", TENANT, "--name", "first")
    partner = Api(house.url, api_key=key)

    subject = await partner.post(
        "/v1/subjects",
        {
            "role": "seller",
            "legal_name": "Severn Mills Limited",
            "company_number": "18000001",
            "representative_name": "Robin Severn",
            "email": "robin@severn.example",
        },
        key="subject",
    )
    form = {
        "form_version": "2026-06",
        "company_number": "18000001",
        "persons": [{"name": "Robin Severn", "born_on": "1980-02-29", "roles": ["director", "representative", "ubo"]}],
        "designated_account": {"account_name": "Severn Mills", "sort_code": "990600", "account_number": "40000001"},
    }
    await partner.post(f"/v1/subjects/{subject['id']}/onboarding", form, key="onboarding")
    payer = {"sort_code": "990600", "account_number": "40000002"}
    opened = {**payer, "name": "A Stranger", "balance_pence": 100_000}
    (await house.http.post(f"{house.controls['bank']}/control/accounts", json=opened)).raise_for_status()
    order = {
        "from": payer,
        "to": {"sort_code": SORT_CODE, "account_number": ACCOUNT},
        "amount_pence": 1234,
        "reference": "for nothing that you know",
        "end_to_end_id": "STRANGER-1",
    }
    (await house.http.post(f"{house.controls['bank']}/control/payments", json=order)).raise_for_status()

    async def seen() -> Any:
        shown = (await partner.get("/v1/collections", limit=10))["items"]
        return [(credit["state"], credit["amount_pence"]) for credit in shown] or None

    async def in_review() -> bool:
        return bool((await partner.get(f"/v1/subjects/{subject['id']}"))["state"] == "IN_REVIEW")

    assert await eventually("the stranger's payment", seen, seconds=60) == [("UNMATCHED", 1234)]
    await eventually("the checks of its company", in_review, seconds=60)
    assert house.platform_pid == pid, "nobody restarted it"
    await partner.aclose()
