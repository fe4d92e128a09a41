"""The second factor: shown once, accepted once, throttled, and worth a better session (AU-11; RFC 6238)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fintokenx.kernel.caller import Role
from tests.modules.parties_house import HERE, away, house
from tests.modules.signed_in import Person
from tests.support import World

pytestmark = pytest.mark.anyio

EVE, ADA = "eve@fintokenx.example", "ada@engines.example"


@pytest.fixture
async def eve(world: World, tmp_path: Path) -> AsyncIterator[Person]:
    at_home = house(world, tmp_path)
    await at_home.open_tenants()
    subject = await at_home.subject(Role.PLATFORM_ADMIN, EVE)
    yield Person(at_home, subject, await at_home.token(subject, EVE))
    await at_home.client.aclose()


@pytest.fixture
async def confirmed(eve: Person) -> Person:
    """Her factor counts; the code that showed it is half a minute old."""
    await eve.add()
    assert (await eve.confirm(eve.code())).status_code == 200
    eve.time_passes(30)
    return eve


async def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_step_up_gives_a_new_session_at_level_two_and_ends_the_old_one(confirmed: Person) -> None:
    old, before = confirmed.bearer, (await confirmed.me()).json()
    answer = await confirmed.step_up(confirmed.code())
    assert (answer.status_code, answer.json()["aal"], answer.headers["cache-control"]) == (201, 2, "no-store")
    confirmed.bearer = answer.json()["access_token"]
    after = (await confirmed.me()).json()
    assert (before["aal"], after["aal"], after["actor"]) == (1, 2, before["actor"])
    assert after["session_id"] != before["session_id"]
    confirmed.bearer = old
    assert await refused(await confirmed.me()) == (401, "SESSION_ENDED")


async def test_a_step_up_while_the_vault_is_away_changes_nothing(
    confirmed: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old session would have ended, and the new one's token could be asked for by nobody."""
    with monkeypatch.context() as outage:
        outage.setattr(confirmed.house.vault, "sign_ed25519", away)
        assert (await confirmed.step_up(confirmed.code())).status_code == 503
    assert (await confirmed.me()).json()["aal"] == 1
    assert (await confirmed.step_up(confirmed.code())).status_code == 201, "the code is not used up"


async def test_the_secret_is_shown_once_and_stands_nowhere_in_the_clear(eve: Person) -> None:
    answer = await eve.add()
    assert answer.json()["otpauth_uri"].startswith("otpauth://totp/FinToken%20X:")
    assert len(eve.secret) == 32
    replay = await eve.post("/v1/mfa/factors", fx_idempotency_key=f"k{eve.house.keys}")
    assert (replay.json()["id"], replay.json()["otpauth_uri"]) == (eve.factor, None)
    assert replay.json()["secret_shown_once"] is True
    superuser = await eve.house.world.connect("postgres")
    for table in ("app.mfa_factors", "app.audit_entries", "ops.idempotency_keys", "ops.mfa_tries"):
        rows = await superuser.fetch(f"select convert_to(t::text, 'UTF8') as text from {table} t")
        assert rows or table == "ops.mfa_tries"
        assert all(eve.secret.encode() not in row["text"] for row in rows), table
    await superuser.close()


async def test_a_code_is_accepted_once(confirmed: Person) -> None:
    """A replay within its window is refused, by confirming and stepping up alike."""
    code = confirmed.code()
    answer = await confirmed.step_up(code)
    assert answer.status_code == 201
    confirmed.bearer = answer.json()["access_token"]
    assert await refused(await confirmed.step_up(code)) == (403, "MFA_REFUSED")
    assert await refused(await confirmed.step_up(confirmed.code(steps=-1))) == (403, "MFA_REFUSED")
    confirmed.time_passes(30)
    assert (await confirmed.step_up(confirmed.code())).status_code == 201


@pytest.mark.parametrize(("steps", "status"), [(-2, 403), (-1, 403), (0, 201), (1, 201), (2, 403)])
async def test_a_code_holds_for_a_step_either_way(confirmed: Person, steps: int, status: int) -> None:
    """One step back was used up by the confirmation."""
    assert (await confirmed.step_up(confirmed.code(steps=steps))).status_code == status


async def test_a_code_a_step_late_is_good(confirmed: Person) -> None:
    confirmed.time_passes(60)
    assert (await confirmed.step_up(confirmed.code(steps=-1))).status_code == 201


async def test_five_wrong_codes_close_the_factor_even_to_the_right_one(confirmed: Person) -> None:
    right = confirmed.code()
    wrong = "000000" if right != "000000" else "000001"
    for _ in range(5):
        assert await refused(await confirmed.step_up(wrong)) == (403, "MFA_REFUSED")
    assert await refused(await confirmed.step_up(right)) == (429, "TOO_MANY_ATTEMPTS")
    confirmed.time_passes(900)
    assert (await confirmed.step_up(confirmed.code())).status_code == 201


async def test_a_factor_that_was_never_confirmed_counts_for_nothing(eve: Person) -> None:
    assert await refused(await eve.step_up("000000")) == (404, "NOT_FOUND")
    await eve.add()
    assert await refused(await eve.step_up(eve.code())) == (403, "MFA_REFUSED")


async def test_a_confirmed_factor_is_replaced_only_by_somebody_who_has_just_shown_it(confirmed: Person) -> None:
    assert await refused(await confirmed.add()) == (403, "MFA_REQUIRED")
    confirmed.bearer = (await confirmed.step_up(confirmed.code())).json()["access_token"]
    first = confirmed.factor
    assert (await confirmed.add()).status_code == 201
    assert await refused(await confirmed.post(f"/v1/mfa/factors/{first}/confirm", {"code": confirmed.code()})) == (
        404,
        "NOT_FOUND",
    )
    assert (await confirmed.confirm(confirmed.code())).status_code == 200


async def test_an_unconfirmed_factor_may_be_begun_again(eve: Person) -> None:
    await eve.add()
    first = eve.secret
    assert (await eve.add()).status_code == 201
    assert eve.secret != first
    assert (await eve.confirm(eve.code())).status_code == 200


async def test_an_api_key_has_no_second_factor(eve: Person) -> None:
    key = await eve.house.api_key()
    answer = await eve.house.post("/v1/sessions/step-up", {"code": "123456"}, fx_api_key=key)
    assert await refused(answer) == (401, "SESSION_ENDED")


async def test_somebody_elses_code_is_no_code(confirmed: Person) -> None:
    ada = await confirmed.house.subject(Role.SELLER, ADA)
    other = Person(confirmed.house, ada, await confirmed.house.token(ada, ADA))
    await other.add()
    assert await refused(await other.confirm(confirmed.code())) == (403, "MFA_REFUSED")
    assert ada.tenant_id == HERE


async def test_the_factors_of_one_person_are_limited_in_number(eve: Person) -> None:
    """A17: each replaces the last, and each leaves a row and an entry for ever."""
    for _ in range(5):
        assert (await eve.add()).status_code == 201
    refused = await eve.add()
    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_FACTORS")
    assert (await eve.confirm(eve.code())).status_code == 200, "the newest still counts"
    eve.time_passes(86_401)
    eve.bearer = await eve.house.token(eve.subject, EVE)
    assert (await eve.step_up(eve.code())).status_code == 201
