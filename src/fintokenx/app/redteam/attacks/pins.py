"""Forged, stale, stolen and bent tenant pins."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Final

from fintokenx.app import provision
from fintokenx.app.redteam.scene import SERVING, Scene
from fintokenx.app.redteam.sql import must_refuse_all, must_show_nothing, must_show_only
from fintokenx.app.redteam.types import Attack, Broken, attack
from fintokenx.kernel.db import PIN_LIFE_SECONDS, PinSigner

_NONE: Final = "Not one row shows in any table."


def _signed(tenant_id: str, expires: int | str, key: bytes) -> str:
    body = f"{tenant_id}.{expires}"
    return f"{body}.{hmac.new(key, body.encode(), hashlib.sha256).hexdigest()}"


async def _all_blind(scene: Scene, pins: dict[str, str | None]) -> str:
    tables = 0
    for name, pin in pins.items():
        async with scene.session(pin=pin) as connection:
            tables += await must_show_nothing(connection, "fx_app", f"a pin that is {name}")
    if not tables:
        raise Broken("no table could be read at all; this proves nothing")
    return f"{len(pins)} pins, {tables} reads, no row"


@attack(
    1, "pins", "Without a pin nothing shows to any login.", tries="Each stolen database password, no pin.", holds=_NONE
)
async def no_pin(scene: Scene) -> str:
    for role in SERVING:
        async with scene.session(role) as connection:
            await must_show_nothing(connection, role, "no pin")
    return f"{len(SERVING)} logins see no tenant's row"


@attack(
    2, "pins", "Under one tenant's pin no other tenant's row shows in any table.",
    tries="A sound pin of the attacker's own tenant; every table that carries a tenant is read.",
    holds="Only the attacker's own rows show.",
)  # fmt: skip
async def own_pin(scene: Scene) -> str:
    async with scene.session(pin=scene.pin(scene.here)) as connection:
        return f"{await must_show_only(connection, scene.here, 'own pin')} tables show own rows only"


@attack(3, "pins", "The name of a tenant is no pin.", tries="fx.pin set by hand to the victim's name.", holds=_NONE)
async def bare_tenant(scene: Scene) -> str:
    there = scene.there.tenant_id
    soon = int(time.time()) + PIN_LIFE_SECONDS
    return await _all_blind(scene, {"bare": there, "unsigned": f"{there}.{soon}.", "a question": f"{there}' or 'a'='a"})


@attack(
    4, "pins", "A pin under a guessed key opens nothing.",
    tries="Pins of the victim signed with empty, zero, random and obvious keys.", holds=_NONE,
)  # fmt: skip
async def guessed_key(scene: Scene) -> str:
    there, soon = scene.there.tenant_id, int(time.time()) + 60
    keys = {"empty": b"", "zeros": bytes(32), "a word": b"secret", "chance": secrets.token_bytes(32)}
    keys["the tenant"] = there.encode()
    return await _all_blind(scene, {f"signed with {name}": _signed(there, soon, key) for name, key in keys.items()})


async def _pin_key(scene: Scene) -> bytes:
    return bytes.fromhex(await scene.vault.secret(provision.PIN_KEY))


@attack(
    5, "pins", "A pin that has expired opens nothing.",
    tries="Pins under the real key, two seconds and a day past their end, and of the epoch.", holds=_NONE,
)  # fmt: skip
async def expired(scene: Scene) -> str:
    key = await _pin_key(scene)
    there = scene.there.tenant_id
    ages = {"two seconds old": 2, "a day old": 86_400}
    stale = {
        name: PinSigner(key, machine_seconds=lambda age=age: time.time() - PIN_LIFE_SECONDS - age).pin(there)  # type: ignore[misc]
        for name, age in ages.items()
    }
    return await _all_blind(scene, {**stale, "of the epoch": _signed(there, 0, key)})


@attack(
    6, "pins", "A signature does not pass to another tenant.",
    tries="The attacker's own sound pin with the victim's name in it, its signature kept.", holds=_NONE,
)  # fmt: skip
async def other_tenant_same_signature(scene: Scene) -> str:
    mine, here, there = scene.pin(scene.here), scene.here.tenant_id, scene.there.tenant_id
    return await _all_blind(scene, {"renamed": mine.replace(here, there), "doubled": f"{there}.{mine}"})


@attack(
    7, "pins", "A signature does not pass to a longer life.",
    tries="A sound pin whose expiry was raised, lowered, zero-padded or made endless.", holds=_NONE,
)  # fmt: skip
async def longer_life(scene: Scene) -> str:
    tenant, expires, signature = scene.pin(scene.here).split(".")
    key = await _pin_key(scene)
    return await _all_blind(
        scene,
        {
            "a second longer": f"{tenant}.{int(expires) + 1}.{signature}",
            "a second shorter": f"{tenant}.{int(expires) - 1}.{signature}",
            "padded": f"{tenant}.0{expires}.{signature}",
            "endless": _signed(tenant, "9" * 13, key),
            "never": _signed(tenant, "never", key),
            "negative": _signed(tenant, "-1", key),
        },
    )


@attack(
    8, "pins", "A pin that is bent in shape opens nothing.",
    tries="Sound pins with parts added, cut, in upper case, spaced, or with SQL in them.", holds=_NONE,
)  # fmt: skip
async def bent(scene: Scene) -> str:
    good = scene.pin(scene.there)
    head, _, signature = good.rpartition(".")
    wrong = ("0" if signature[-1] != "0" else "1").join((signature[:-1], ""))
    shapes = {
        "longer": f"{good}.x", "cut": good[:-2], "spaced": f" {good}", "upper": f"{head}.{signature.upper()}",
        "one digit off": f"{head}.{wrong}", "empty": "", "dots": "..", "sql": "x'||(select fx.tenant())||'",
    }  # fmt: skip
    return await _all_blind(scene, dict(shapes))


@attack(
    9, "pins", "A pin of a retired key opens nothing.",
    tries="A key is retired (in a transaction of the migrator's that is rolled back); a pin that it signed is shown.",
    holds="fx.tenant() knows no tenant.",
)  # fmt: skip
async def retired_key(scene: Scene) -> str:
    key = secrets.token_bytes(32)
    signer = PinSigner(key)
    async with scene.session("fx_migrator") as connection:
        await connection.execute("set local role fx_owner")
        known = set()
        for retired in ("null", "now()"):
            await connection.execute("delete from fx.pin_keys where key_id = 32000")
            await connection.execute(
                f"insert into fx.pin_keys (key_id, inner_pad, outer_pad, retired_at) values (32000, $1, $2, {retired})",
                *signer.pads(),
            )
            await connection.fetchval("select set_config('fx.pin', $1, true)", signer.pin(scene.there.tenant_id))
            known.add((retired, await connection.fetchval("select fx.tenant()")))
    if ("null", scene.there.tenant_id) not in known:
        raise Broken("a live second key is not accepted either; this proves nothing")
    if ("now()", None) not in known:
        raise Broken("a retired key still pins")
    return "accepted while live, refused once retired"


@attack(
    10, "pins", "A stolen pin opens its own tenant, briefly, and nothing else.",
    tries="A pin of the attacker's tenant is replayed on three other connections.",
    holds="It shows that tenant's rows only, and ends within five minutes.",
)  # fmt: skip
async def replayed(scene: Scene) -> str:
    pin = scene.pin(scene.here)
    left = int(pin.split(".")[1]) - time.time()
    if left > PIN_LIFE_SECONDS:
        raise Broken(f"a pin lives for {left:.0f} seconds")
    for _ in range(3):
        async with scene.session(pin=pin) as connection:
            await must_show_only(connection, scene.here, "a replayed pin")
    return f"own tenant only, {int(left)} seconds left"


@attack(
    11, "pins", "The key that signs pins cannot be read or changed.",
    tries="Every login reads, copies and writes fx.pin_keys, under a sound pin.", holds="Each statement is refused.",
)  # fmt: skip
async def pin_key_read(scene: Scene) -> str:
    for role in SERVING:
        await must_refuse_all(
            scene,
            role,
            (
                "select * from fx.pin_keys",
                "select count(*) from fx.pin_keys",
                "copy fx.pin_keys to stdout",
                "update fx.pin_keys set retired_at = null",
                "insert into fx.pin_keys values (2, ''::bytea, ''::bytea, null)",
            ),
        )
    return f"refused to {len(SERVING)} logins"


ATTACKS: Final[tuple[Attack, ...]] = (
    no_pin, own_pin, bare_tenant, guessed_key, expired, other_tenant_same_signature, longer_life, bent, retired_key,
    replayed, pin_key_read,
)  # fmt: skip
