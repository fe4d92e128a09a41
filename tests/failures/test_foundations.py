"""Chain, vault and database away under a running platform: it waits, says so, and goes on by itself (P-25, IX-09)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from functools import partial

import pytest

from fintokenx.app import inspect, providers, provision
from fintokenx.app.api_client import eventually
from fintokenx.desks.operations import halt
from fintokenx.kernel.errors import Unavailable
from fintokenx.sandbox.processes import ChildFailed
from tests.failures.house import House, Paper
from tests.failures.matrix import CHAIN, OURS, Row

pytestmark = pytest.mark.anyio

SEVERAL = 2


async def break_chain(house: House, how: str) -> None:
    """Stop blocks, the process, or its answers."""
    if how == "paused":
        await house.chain(paused=True)
    elif how == "stopped":
        await house.anvil.stop()
    else:
        os.kill(house.anvil_pid, signal.SIGSTOP)


async def mend_chain(house: House, how: str) -> None:
    """The contrary."""
    if how == "paused":
        await house.chain(paused=False)
    elif how == "stopped":
        await house.anvil.start(int((await house.now()).timestamp()))
    else:
        os.kill(house.anvil_pid, signal.SIGCONT)


@pytest.mark.parametrize("row", CHAIN, ids=lambda row: row.id)
async def test_confirmed_invoices_wait_for_the_chain_and_are_minted_once(house: House, row: Row) -> None:
    """TK-04: no confirmation is refused because the chain is away, and no token is minted twice when it is back."""
    await house.cast()
    papers = await asyncio.gather(*(house.upload() for _ in range(SEVERAL)))
    for paper in papers:
        await house.invoice_is(paper, "AWAITING_BUYER")
    await break_chain(house, row.mode)
    try:
        for paper in papers:
            await house.confirm(paper)
        for paper in papers:
            await house.sees("its token", partial(house.token_state, paper), *row.states, seconds=60)
            assert await house.state(paper) == "CONFIRMED"

        async def seen_down() -> bool:  # a chain that answers is called halted when no block has come for ten seconds
            status, parts = await house.ready()
            return (status, parts["chain"], parts["database"]) == (200, "down", "up")

        await eventually("the chain called down", seen_down, seconds=60)
        if row.alert:
            assert "halted: no new block for 10 s" in (await house.reasons())["chain"]

            async def told() -> bool:
                return row.alert in await house.alerts(halt.RESOURCE)

            await eventually("the alert", told, seconds=60)
    finally:
        await mend_chain(house, row.mode)
    for paper in papers:
        await house.invoice_is(paper, "LISTED")
        assert (await house.trail(paper.reference)).count("TOKEN_MINT") == 1
        assert await mints(house, paper) == 1
    house.stock += papers


async def mints(house: House, paper: Paper) -> int:
    """How often the chain itself says that the token of an invoice came into being."""
    token = await house.partner.get(f"/v1/invoices/{paper.reference}/token")
    created = {"address": token["contract_address"], "fromBlock": "0x0", "topics": [None, token["token_id"]]}
    logs = await house.anvil.control.call("eth_getLogs", created)
    return len({log["transactionHash"] for log in logs})


async def test_without_the_vault_nothing_is_signed_and_reads_are_served(house: House) -> None:
    row = next(row for row in OURS if row.provider == "vault")
    listed = await house.take_listed()
    asked = await house.upload()
    await house.invoice_is(asked, "AWAITING_BUYER")
    link = (await eventually("the buyer's mail", lambda: house.links_or_none(asked), seconds=60))[-1]
    listing_id = await eventually("the listing", lambda: house.listing(listed), seconds=60)
    lender = await house.signed_in((await house.company("lender")).email)
    before = len((await house.log("bank"))["deliveries"])
    down = house.folder / "vault" / "down"
    down.touch()
    try:
        status, parts = await house.ready()
        assert (status, parts["vault"], parts["database"]) == (503, "down", "up")
        payment = (await lender.post("/v1/payments", {"listing_id": listing_id}, key="vault-down"))["id"]
        await house.payment_is(payment, *row.states)
        assert await house.answer(link) == 200, "its seal needs no new key; only the mint has to wait"
        await house.sees("its token", partial(house.token_state, asked), "PENDING_MINT")
        assert "TOKEN_SUBMIT" not in await house.trail(asked.reference)
        assert await new_subject(house) == (503, "VAULT_UNAVAILABLE")
        await house.sees("webhooks", partial(webhook, house), "503 VAULT_UNAVAILABLE", seconds=60)
        assert await anchoring(house) == "vault"
        assert (await house.http.get(f"{house.url}/healthz")).status_code == 200
        assert (await house.trail(listed.reference)).count("TOKEN_MINT") == 1
        deliveries = list((await house.log("bank"))["deliveries"])[before:]
        assert [one for one in deliveries if one["method"] == "POST"] == []
    finally:
        down.unlink()
    await house.sees("readiness", lambda: readiness(house), "200")
    assert await webhook(house) == "401 WEBHOOK_SIGNATURE_INVALID"
    assert await anchoring(house) == ""
    await house.payment_is(payment, "CLOSED")
    await house.invoice_is(asked, "LISTED")
    assert await mints(house, asked) == 1
    assert (await new_subject(house))[0] == 201
    rows = {row["endToEndId"]: row["effects"] for row in await house.instructions() if payment in row["endToEndId"]}
    assert rows == {payment: 1, f"{payment}-P": 1}
    house.stock.append(asked)


async def new_subject(house: House) -> tuple[int, str]:
    """Try to register somebody: their name needs a key of its own. Status and problem code."""
    body = {
        "role": "buyer",
        "legal_name": "Late Arrivals Limited",
        "company_number": "17999999",
        "representative_name": "Robin Late",
        "email": "late@failures.example",
    }
    headers = {"FX-Api-Key": house.api_key, "FX-Idempotency-Key": "late-arrival"}
    answer = await house.http.post(f"{house.url}/v1/subjects", json=body, headers=headers)
    return answer.status_code, str(answer.json().get("code", ""))


async def webhook(house: House) -> str:
    """What a webhook that nobody signed is answered: who cannot fetch the secret believes nothing and refuses nothing.

    For some seconds after the vault has gone the secret is still known."""
    headers = {"X-Payload-Digest-Alg": "HMAC_SHA256_HEX", "X-Payload-Digest": "00" * 32}
    answer = await house.http.post(f"{house.url}/v1/webhooks/sumsub", content=b"{}", headers=headers)
    return f"{answer.status_code} {answer.json().get('code', '')}"


async def anchoring(house: House) -> str:
    """Try to seal and anchor now; which system was away, if any."""
    try:
        with house.at_home():
            await inspect.anchor_now(house.system)
    except Unavailable as fault:
        return fault.system
    return ""


async def test_a_platform_whose_vault_is_down_does_not_start(house: House) -> None:
    """P-20, on the real process: it ends by itself, has served nothing, and starts when the vault is back."""
    down = house.folder / "vault" / "down"
    with house.at_home():
        platform = house.system.platform
        await asyncio.to_thread(platform.stop)
        already = platform.log.stat().st_size
        down.touch()
        try:
            with pytest.raises(ChildFailed):
                await asyncio.to_thread(house.system.restart_platform)
            assert not platform.alive
            ended = platform.log.read_bytes()[already:]
        finally:
            down.unlink()
            await asyncio.to_thread(house.system.restart_platform)
    await house.sees("readiness", lambda: readiness(house), "200")
    assert b"VaultUnavailable" in ended
    assert b'"started"' not in ended
    lines = [json.loads(line) for line in platform.log.read_bytes()[already:].splitlines() if line.startswith(b'{"')]
    fetched = {line["resource"] for line in lines if line.get("event") == "vault_fetched"}
    assert fetched >= {*providers.credential_names(), provision.PIN_KEY, provision.password_of("fx_app")}


async def readiness(house: House) -> str:
    """The status of /readyz."""
    return str((await house.ready())[0])


async def test_the_platform_outlives_its_database_and_loses_nothing(house: House) -> None:
    """Killed with work in every stage, as a crash would; the platform is not restarted."""
    listed = await house.take_listed()
    confirmed = await house.upload()
    await house.invoice_is(confirmed, "AWAITING_BUYER")
    await house.confirm(confirmed)
    payment = await house.fund(listed)
    fresh = await house.upload()
    process = house.platform_pid
    await asyncio.to_thread(house.postgres.kill)
    try:
        status, parts = await house.ready()
        assert (status, parts["database"]) == (503, "down")
        assert (await house.http.get(f"{house.url}/healthz")).status_code == 200
        refused = await house.http.get(
            f"{house.url}/v1/invoices/{fresh.reference}", headers={"FX-Api-Key": house.api_key}
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
    finally:
        await asyncio.to_thread(house.postgres.start)
    await house.sees("readiness", lambda: readiness(house), "200")
    await house.pass_time(seconds=30)
    await house.payment_is(payment, "CLOSED")
    await house.invoice_is(confirmed, "LISTED")
    await house.invoice_is(fresh, "AWAITING_BUYER")
    assert house.platform_pid == process
    trail = await house.trail(listed.reference)
    assert [trail.count(action) for action in ("FUND_COMMIT", "FIAT_IN", "FUND_INVOICE", "FIAT_PAID")] == [1] * 4
    assert await mints(house, confirmed) == 1
    assert await house.record_verifies() == []
    await house.books_agree()
