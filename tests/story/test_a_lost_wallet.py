"""A lender buys a receivable and loses its wallet: it is recovered, the platform is killed meanwhile, and at maturity
the token burns from the new wallet and everybody has what is theirs to the penny (CH-17)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from fintokenx.adapters.chain import Deployment
from fintokenx.app import inspect
from fintokenx.app.api_client import Api, ApiRefused, eventually
from fintokenx.app.demo import FUNDED_WITH, LENDER, TENANT, Story, default_invoice
from fintokenx.app.demo_paper import Paper
from fintokenx.app.local import LocalSystem
from fintokenx.app.provision import TENANTS
from fintokenx.sandbox.anvil import ChainControl
from tests.story.house import balance_pence, cli, count_of, mints_and_burns, payments, running, story_of, the_day_after

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

FACE_PENCE = 12_480_00
NET_ADVANCE_PENCE = 12_292_80
RECOVERED = "0x" + keccak(text="RecoverySuccess(address,address,bytes32)").hex()
REASON = "The lender says that its signing device was stolen."
DECISION = {"decision": "APPROVE", "rationale": "Called the director back on the number of the file; identity checked."}


@pytest.fixture(scope="module")
async def story() -> AsyncIterator[Story]:
    """The story until the lender holds the token."""
    paper = Paper.read(default_invoice())
    async with running(the_day_after(paper)) as system, aclosing(story_of(system, paper)) as told:
        await told.tell(until="fund")
        yield told


async def test_a_lender_that_loses_its_wallet_is_paid_to_the_penny(story: Story) -> None:
    system = story.system
    await inspect.create_staff(system, TENANT, "mlro", "Otto Second", story.email_of("second"))
    second = await story.signed_in("second")
    lost = await story.lender.get("/v1/wallets/me")
    request = {"subject_id": story.subjects["lender"], "reason": REASON}
    recovery = await story.mlro.post("/v1/wallet-recoveries", request, key="lost-1")
    decision = f"/v1/cases/{recovery['case_id']}/decision"
    with pytest.raises(ApiRefused) as refused:
        await story.mlro.post(decision, DECISION, key="lost-2")
    assert refused.value.code == "FOUR_EYES"

    killing = asyncio.create_task(_kill_when_the_chain_has_moved_it(system))
    await second.post(decision, DECISION, key="lost-3")
    done = await eventually("the recovery", lambda: _completed(second, recovery["id"]))
    await asyncio.wait_for(killing, 60)
    assert system.platform.log.read_text().count('"event": "started"') == 2
    assert done["requested_by"] != done["decided_by"]

    new = await story.lender.get("/v1/wallets/me")
    token = await story.lender.get(f"/v1/invoices/{story.reference}/token")
    assert new["id"] == done["new_wallet_id"] != lost["id"]
    assert (token["state"], token["holder_wallet"]) == ("HELD", new["address"])
    assert token["holder_wallet"] != lost["address"]
    _agrees_with_the_chain()

    outcome = await story.tell(since="mature_and_pay")
    assert (outcome.invoice_state, outcome.token_state) == ("SETTLED", "BURNED")
    assert not outcome.trial_difference
    assert await mints_and_burns(system, token["token_id"]) == (1, 1)
    assert await balance_pence(system, *LENDER[2:]) == FUNDED_WITH - NET_ADVANCE_PENCE + FACE_PENCE
    assert await balance_pence(system, *story.paper.seller_account) == NET_ADVANCE_PENCE
    collections = TENANTS[TENANT].collections
    assert await balance_pence(system, collections.sort_code, collections.account_number) == 0
    assert [row["effects"] for row in await payments(system)] == [1, 1, 1]
    for action in ("WALLET_RECOVERY_APPROVE", "TOKEN_RECOVER", "WALLET_RETIRE", "FUND_INVOICE", "TOKEN_BURN"):
        assert await count_of(system, action) == 1, action
    assert len(await _recoveries_on_chain(system)) == 1
    _agrees_with_the_chain()
    assert cli("audit", "replay").returncode == 0


async def _completed(officer: Api, recovery_id: str) -> Any:
    now = await officer.get(f"/v1/wallet-recoveries/{recovery_id}")
    return now if now["state"] == "COMPLETED" else None


async def _recoveries_on_chain(system: LocalSystem) -> list[Any]:
    settings = system.settings()
    token = Deployment.load(Path(settings.chain_deployment)).token
    wanted = {"fromBlock": "0x0", "address": token, "topics": [RECOVERED]}
    logs: list[Any] = await ChainControl(settings.chain_rpc_urls[0]).call("eth_getLogs", wanted)
    return logs


async def _kill_when_the_chain_has_moved_it(system: LocalSystem) -> None:
    """The network knows; the platform, most likely, does not yet."""
    while not await _recoveries_on_chain(system):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(system.platform.kill)
    await asyncio.to_thread(system.restart_platform)


def _agrees_with_the_chain() -> None:
    agreed = cli("chain", "reconcile", "--json")
    assert agreed.returncode == 0, agreed.stdout + agreed.stderr
    found = json.loads(agreed.stdout)
    assert (found["equal"], found["drifts"]) == (True, [])
