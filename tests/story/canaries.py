"""Looking for words where they must not be: in every spelling in which a database dump or a file could hold them."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from fintokenx.app import provision
from fintokenx.app.local import DATABASE, LocalSystem
from fintokenx.sandbox.postgres import client_program

_HEX_RUN = re.compile(rb"[0-9a-f]{16,}")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_DEPTH_MAX = 3


def spellings(word: str) -> set[bytes]:
    """The word as UTF-8 and UTF-16, escaped for JSON and for URLs, in hex, and within base 64 at any alignment."""
    raw = word.encode()
    found = {raw, word.encode("utf-16-le"), word.encode("utf-16-be"), json.dumps(word)[1:-1].encode()}
    found |= {quote(word).encode(), quote_plus(word).encode(), raw.hex().encode(), raw.hex().upper().encode()}
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            # The first and last characters also hold bits of the neighbours; what lies between is the word's own.
            spelt = encode(b"\0" * before + raw + b"\0" * (-(before + len(raw)) % 3))
            found.add(spelt[-(-before * 4 // 3) : len(spelt) - 4 if (before + len(raw)) % 3 else len(spelt)])
    return {spelling for spelling in found if len(spelling) >= 6}


def layers(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """The bytes, what their hex runs stand for (as a dump spells bytea), and what is packed in them."""
    yield content
    if depth == _DEPTH_MAX:
        return
    for run in _HEX_RUN.findall(content):
        yield from layers(binascii.unhexlify(run[: len(run) // 2 * 2]), depth + 1)
    for packed in _PACKED.finditer(content):
        for bits in (31, 15):  # gzip, zlib
            try:
                yield from layers(zlib.decompressobj(bits).decompress(content[packed.start() :]), depth + 1)
            except zlib.error:
                continue


def found_in(content: bytes, words: Iterable[str]) -> set[str]:
    """Which of the words stand somewhere in the bytes."""
    wanted = {word: spellings(word) for word in words}
    hits: set[str] = set()
    for layer in layers(content):
        hits |= {word for word, spelt in wanted.items() if word not in hits and any(s in layer for s in spelt)}
    return hits


async def dump_of(system: LocalSystem) -> bytes:
    """The whole database, schema and data, as a superuser's pg_dump writes it."""
    program = client_program("pg_dump")
    assert program is not None, "pg_dump is not where the embedded Postgres keeps its programs"
    postgres = await system.postgres()
    password = await system.vault().secret(provision.password_of(provision.SUPERUSER))
    dsn = postgres.dsn(provision.SUPERUSER, password, DATABASE)
    made = subprocess.run(
        [program, "--dbname", dsn, "--no-password"], capture_output=True, check=False, env={**os.environ}
    )
    assert made.returncode == 0, made.stderr.decode()[-500:]
    return made.stdout


def files_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, by name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
