"""A holder sees its own tokens and what happened to them; of others it learns nothing, not even by naming them
(CH-03; issue 4, must-show 7)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fintokenx.kernel.caller import Caller, Role
from tests.explorer.house import REFERENCE, ROUTES, Window, holder
from tests.explorer.own_window import window
from tests.modules.tokens_house import FACE, TENANT

pytestmark = pytest.mark.anyio
__all__ = ["window"]

STAFF = (Role.SYSTEM, Role.COMPLIANCE, Role.MLRO, Role.PARTNER_ADMIN, Role.PLATFORM_ADMIN)

HOLDERS = (Role.LENDER, Role.INVESTOR)


async def test_a_holder_sees_its_token_as_chain_and_database_have_it(window: Window) -> None:
    token = await window.held(0)
    answer = await window.get(window.lender(0), "/v1/explorer/holdings")
    [seen] = answer.json()["items"]
    assert (seen["token_reference"], seen["token_id"]) == (token.reference, token.token_id_hex)
    assert (seen["face_pence"], seen["chain_pence"], seen["database_pence"]) == (
        FACE.value,
        FACE.value,
        FACE.value,
    )
    assert (seen["frozen_pence"], seen["agreement"], seen["state"]) == (0, "equal", "HELD")
    assert seen["wallet"] == token.holder_wallet
    assert seen["entry"]["action"] == "FUND_INVOICE"
    assert answer.json()["block"]["number"] == (await window.town.chain.head()).number
    [moved] = await window.transfers(window.lender(0))
    assert (moved["kind"], moved["direction"], moved["counterparty"]) == ("transfer", "in", "fx_minting_wallet")
    promise = await window.town.house.promise(f"fund:{token.reference}:{window.town.asked}")
    assert (moved["tx_hash"], moved["block_number"]) == (promise.tx_hash, promise.block_number)
    assert (moved["amount_pence"], moved["entry"]["action"]) == (FACE.value, "TOKEN_TRANSFER")


async def test_of_two_holders_neither_reads_a_word_of_the_other(window: Window) -> None:
    first, second = await window.held(0), await window.held(1)
    for me, mine, theirs in ((0, first, second), (1, second, first)):
        for path in ("/v1/explorer/holdings", "/v1/explorer/transfers"):
            text = (await window.get(window.lender(me), path)).text
            assert mine.reference in text
            for word in (theirs.reference, theirs.token_id_hex, theirs.holder_wallet, theirs.holder_subject_id):
                assert str(word).lower() not in text.lower()


async def test_every_role_gets_what_is_its_own_and_no_more(window: Window) -> None:
    """Holders their own; staff those of a holder whom they name; everybody else nothing."""
    token = await window.held(0)
    owner = window.town.lenders[0]
    paths = [each.format(reference=token.reference) for each in ROUTES]
    for role in Role:
        caller = holder(owner if role in HOLDERS else "sub_x", role)
        for path in paths:
            bare = await window.get(caller, path)
            named = await window.get(caller, f"{path}{'&' if '?' in path else '?'}holder_subject_id={owner}")
            if role in HOLDERS:
                assert (bare.status_code, named.status_code) == (200, 200)
                assert bare.json()["items"] == named.json()["items"] != []
            elif role in STAFF:
                assert (bare.status_code, bare.json()["code"]) == (422, "HOLDER_REQUIRED")
                assert (named.status_code, len(named.json()["items"])) == (200, 1)
            else:
                assert [(each.status_code, each.json()["code"]) for each in (bare, named)] == [
                    (403, "ROLE_FORBIDDEN")
                ] * 2
        anchors = await window.get(caller, "/v1/explorer/anchors")
        assert anchors.status_code == (200 if role in (*HOLDERS, *STAFF) else 403)


@pytest.mark.parametrize("role", HOLDERS)
async def test_whoever_names_another_holder_is_refused_alike_whether_there_is_one_or_not(
    window: Window, role: Role
) -> None:
    """CH-03's own test: 403. It is said before the database is asked, so it tells nobody who exists."""
    await window.held(1)
    me = holder(window.town.lenders[0], role)
    for path in (each.format(reference=REFERENCE) for each in ROUTES):
        answers = [
            await window.get(me, f"{path}{'&' if '?' in path else '?'}holder_subject_id={other}")
            for other in (window.town.lenders[1], "sub_" + "0" * 26)
        ]
        assert [(each.status_code, each.json()["code"]) for each in answers] == [(403, "NOT_YOUR_HOLDINGS")] * 2
        assert answers[0].content == answers[1].content


async def test_anothers_token_and_a_foreign_tenants_look_like_one_that_nobody_has(window: Window) -> None:
    theirs = await window.held(1)
    stranger = replace(window.lender(1), tenant_id="tnt_b")
    for path in ROUTES[1], ROUTES[3]:
        for caller in (window.lender(0), stranger):
            answers = [await window.get(caller, path.format(reference=each)) for each in (theirs.reference, REFERENCE)]
            assert [each.status_code for each in answers] == [404, 404]
            assert answers[0].content == answers[1].content
    for other in (theirs.holder_subject_id, "sub_" + "0" * 26):
        clerk = Caller("tnt_b", Role.MLRO, "sub_clerk", subject_id="sub_clerk")
        answer = await window.get(clerk, "/v1/explorer/holdings", holder_subject_id=other)
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_an_administrator_in_a_holders_place_sees_what_the_holder_does(window: Window) -> None:
    await window.held(0)
    await window.held(1)
    admin = Caller(
        TENANT, Role.PLATFORM_ADMIN, "sub_admin", subject_id=window.town.lenders[0], acts_as=Role.LENDER,
        admin_session_id="adm_1", session_id="adm_1", on_behalf_of=window.town.lenders[0],
    )  # fmt: skip
    assert await window.holdings(admin) == await window.holdings(window.lender(0))
    refused = await window.get(admin, "/v1/explorer/holdings", holder_subject_id=window.town.lenders[1])
    assert refused.status_code == 403


async def test_who_holds_a_token_only_its_holder_and_staff_are_told(window: Window) -> None:
    token = await window.held(0)
    house = window.town.house
    whole = (token.holder_subject_id, token.holder_wallet)
    for caller, expected in (
        (window.lender(0), whole),
        (window.lender(1), (None, None)),
        (holder("sub_investor", Role.INVESTOR), (None, None)),
        (holder(house.seller, Role.SELLER), (None, None)),
        (holder(house.buyer, Role.BUYER), (None, None)),
        (holder("sub_clerk", Role.MLRO), whole),
    ):
        for path in (f"/v1/tokens/{token.reference}", f"/v1/invoices/{token.invoice_reference}/token"):
            shown = (await window.get(caller, path)).json()
            assert (shown["holder_subject_id"], shown["holder_wallet"]) == expected
            assert shown["state"] == "HELD"


async def test_a_holder_without_a_wallet_has_nothing_and_the_chain_is_not_asked(window: Window) -> None:
    asked = len(window.chain.asked)
    for path in ("/v1/explorer/holdings", "/v1/explorer/transfers"):
        answer = await window.get(holder("sub_new"), path)
        assert answer.json() == {"block": None, "items": [], "next": None}
    missing = await window.get(holder("sub_new"), f"/v1/explorer/holdings/{REFERENCE}")
    assert missing.status_code == 404
    assert len(window.chain.asked) == asked


# ── What happened


async def test_each_kind_of_event_is_told_with_the_entry_behind_it_or_that_there_is_none(window: Window) -> None:
    token = await window.held(0)
    mine, theirs = [(await window.town.house.wallet(each)).address for each in window.town.lenders[:2]]
    await window.town.agent("setFrozenTokens(address,uint256,uint256)", mine, token.token_id, 100)
    await window.town.agent("forcedTransfer(address,address,uint256,uint256)", mine, theirs, token.token_id, 7)
    await window.town.agent("forcedTransfer(address,address,uint256,uint256)", theirs, mine, token.token_id, 7)
    assert [each["frozen_pence"] for each in await window.holdings(window.lender(0))] == [100]
    await window.burned(token)
    told = [
        (each["kind"], each["direction"], each["counterparty"], each["amount_pence"],
         each["entry"] and each["entry"]["action"])
        for each in reversed(await window.transfers(window.lender(0)))
    ]  # fmt: skip
    assert told == [
        ("transfer", "in", "fx_minting_wallet", FACE.value, "TOKEN_TRANSFER"),
        ("freeze", "none", "nobody", 100, None),
        ("forced_transfer", "out", "another_holder", 7, None),
        ("forced_transfer", "in", "another_holder", 7, None),
        ("freeze", "none", "nobody", 0, "TOKEN_BURN"),
        ("burn", "out", "nobody", FACE.value, "TOKEN_BURN"),
    ]
    passing = [(each["kind"], each["direction"]) for each in await window.transfers(window.lender(1))]
    assert passing == [("forced_transfer", "out"), ("forced_transfer", "in")]
    assert mine not in json.dumps(await window.transfers(window.lender(1)))
    [gone] = await window.holdings(window.lender(0))
    assert (gone["state"], gone["chain_pence"], gone["database_pence"], gone["agreement"]) == (
        "BURNED",
        0,
        0, "equal",
    )  # fmt: skip
    assert gone["entry"]["action"] == "TOKEN_BURN"


async def test_a_recovered_wallet_tells_of_a_recovery(window: Window) -> None:
    token = await window.held(0)
    lost = await window.town.identity(window.town.lenders[0], 7)
    new = await window.town.chain.create_wallet("wallet/new")
    await window.town.call(replace(lost, wallet=new))
    await window.town.agent(
        "recoveryAddress(address,address,bytes32,uint256[])", lost.wallet, new, lost.subject_hash, [token.token_id]
    )
    newest = (await window.transfers(window.lender(0)))[0]
    assert (newest["kind"], newest["direction"], newest["amount_pence"]) == ("recovery", "out", FACE.value)


async def test_pages_show_each_thing_once(window: Window) -> None:
    references = {(await window.held(0)).reference for _ in range(3)}
    for what in ("holdings", "transfers"):
        found, after = [], None
        while True:
            query = {"limit": 1} | ({"after": after} if after else {})
            page = (await window.get(window.lender(0), f"/v1/explorer/{what}", **query)).json()
            assert len(page["items"]) == 1
            found += [each["token_reference"] for each in page["items"]]
            if (after := page["next"]) is None:
                break
        assert sorted(found) == sorted(references)
    [one] = await window.transfers(window.lender(0), token_reference=min(references))
    assert one["token_reference"] == min(references)


# ── Agreement


async def test_a_transfer_that_is_not_taken_up_yet_is_under_way(window: Window) -> None:
    token = await window.town.house.minted()
    key = await window.town.promise_transfer(token, window.town.lenders[0])
    await window.town.house.until_idle()
    [seen] = await window.holdings(window.lender(0))
    assert (seen["chain_pence"], seen["database_pence"], seen["agreement"]) == (FACE.value, FACE.value, "equal")
    assert seen["state"] == "MINTED"
    await window.town.hold(token, window.town.lenders[0], key)
    await window.town.anvil.control.call("evm_setAutomine", False)
    held = await window.town.house.token(token.invoice_reference)
    await window.town.request_burn(held)
    await _signed(window, f"burn:{token.reference}")
    [seen] = await window.holdings(window.lender(0))
    assert (seen["state"], seen["chain_pence"], seen["agreement"]) == ("BURN_PENDING", FACE.value, "equal")
    await window.town.anvil.control.call("evm_mine")
    [seen] = await window.holdings(window.lender(0))
    assert (seen["state"], seen["chain_pence"], seen["database_pence"], seen["agreement"]) == (
        "BURN_PENDING", 0, FACE.value, "in_flight",
    )  # fmt: skip


async def _signed(window: Window, business_key: str) -> None:
    async def done() -> bool:
        return (await window.town.house.promise(business_key)).state == "SIGNED"

    await window.town.house.work_until(done)


async def test_a_token_that_somebody_moved_behind_our_back_differs_for_both(window: Window) -> None:
    token = await window.held(0)
    theirs = (await window.town.house.wallet(window.town.lenders[1])).address
    await window.town.agent(
        "forcedTransfer(address,address,uint256,uint256)", token.holder_wallet, theirs, token.token_id, 7
    )
    [mine], [passed] = await window.holdings(window.lender(0)), await window.holdings(window.lender(1))
    assert (mine["chain_pence"], mine["database_pence"], mine["agreement"]) == (
        FACE.value - 7, FACE.value, "differs",
    )  # fmt: skip
    assert (passed["chain_pence"], passed["database_pence"], passed["agreement"]) == (7, 0, "differs")


async def test_a_tampered_slice_row_is_a_difference_and_not_a_holding(window: Window) -> None:
    token = await window.held(0)
    other = await window.town.house.wallet(window.town.lenders[1])
    await window.town.tamper(
        "tokens", f"update app.tokens set state = 'FRACTIONALISED' where reference = '{token.reference}'"
    )
    whole = (
        "insert into app.slices (tenant_id, id, token_reference, index, face_pence, holder_subject_id, holder_wallet)"
    )
    await window.town.tamper(
        "slices",
        f"{whole} values ('{TENANT}', 'slc_1', '{token.reference}', 0, {FACE.value - 100},"
        f" '{token.holder_subject_id}', '{token.holder_wallet}')",
        f"{whole} values ('{TENANT}', 'slc_2', '{token.reference}', 1, 100, '{other.subject_id}', '{other.address}')",
    )
    [mine], [faked] = await window.holdings(window.lender(0)), await window.holdings(window.lender(1))
    assert (mine["agreement"], mine["chain_pence"], mine["database_pence"]) == (
        "differs", FACE.value, FACE.value - 100,
    )  # fmt: skip
    assert [each["id"] for each in mine["slices"]] == ["slc_1"]
    assert (faked["agreement"], faked["chain_pence"], faked["database_pence"]) == ("differs", 0, 100)
    assert [each["id"] for each in faked["slices"]] == ["slc_2"]
    for shown, hidden in ((mine, other), (faked, await window.town.house.wallet(window.town.lenders[0]))):
        assert hidden.address not in json.dumps(shown)
        assert hidden.subject_id not in json.dumps(shown)


async def test_a_row_that_says_somebody_else_holds_it_differs_for_both(window: Window) -> None:
    token = await window.held(0)
    other = await window.town.house.wallet(window.town.lenders[1])
    await window.town.tamper(
        "tokens",
        f"update app.tokens set holder_subject_id = '{other.subject_id}', holder_wallet = '{other.address}'"
        f" where reference = '{token.reference}'",
    )
    [mine], [faked] = await window.holdings(window.lender(0)), await window.holdings(window.lender(1))
    assert (mine["agreement"], mine["database_pence"]) == ("differs", 0)
    assert (faked["agreement"], faked["chain_pence"]) == ("differs", 0)


async def test_what_our_database_does_not_know_is_shown_and_named_so(window: Window) -> None:
    mine = (await window.town.house.wallet(window.town.lenders[0])).address
    minting = await window.town.chain.minting_wallet()
    token = await window.town.house.minted()
    await window.town.agent("forcedTransfer(address,address,uint256,uint256)", minting, mine, token.token_id, 5)
    unknown = f"update app.tokens set token_id_hex = '0x{'0' * 63}1' where reference = '{token.reference}'"
    await window.town.tamper("tokens", unknown)
    [seen] = await window.holdings(window.lender(0))
    assert (seen["token_reference"], seen["chain_pence"], seen["agreement"]) == (None, 5, "differs")


async def test_logs_that_a_lagging_node_kept_back_are_read_again(window: Window) -> None:
    await window.held(0)
    window.chain.lag_once = True
    [seen] = await window.holdings(window.lender(0))
    assert seen["agreement"] == "equal"
    assert window.chain.asked.count("events afresh") == 1
