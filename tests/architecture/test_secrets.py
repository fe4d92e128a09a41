"""No secret is committed (P-20): a simple scan of every tracked file."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.architecture.house import ROOT, text_of, tracked

SHAPES = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an AWS secret": re.compile(r"(?i)aws_secret\w*[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9/+=]{40}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{60,}"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "a signed JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}"),
    "a password in an address": re.compile(r"://[^\s:/@{}'\"$<]{1,40}:(?!test-only@)[^\s:/@{}'\"$<]{6,}@"),
}
SECRET_BYTES = "64 hexadecimal digits under a secret's name"
HEX_64 = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
GIVEN_TO_A_SECRET = re.compile(
    r"(?i)(?:key|secret|token|password|passwd|credential)s?[\"']?\s*(?::\s*[\w\[\], .]+)?[:=]\s*"
    r"(?:[bf]?[\"']|(?:bytes\.)?fromhex\([\"'])?(?:0x)?$"
)
NAME_LENGTH_MAX = 80
PUBLIC = {
    # place → why what looks like a secret is none
    "src/fintokenx/sandbox/anvil.py": "anvil's well-known development keys hold nothing anywhere",
}


def found_in(text: str) -> list[str]:
    """The kinds of secrets in a text."""
    named = [text[max(0, match.start() - NAME_LENGTH_MAX) : match.start()] for match in HEX_64.finditer(text)]
    hexadecimal = [SECRET_BYTES] if any(GIVEN_TO_A_SECRET.search(before) for before in named) else []
    return [kind for kind, shape in SHAPES.items() if shape.search(text)] + hexadecimal


def test_no_tracked_file_holds_a_secret() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): kinds
        for path in tracked()
        if (text := text_of(path)) is not None and (kinds := found_in(text))
    }
    assert {name: kinds for name, kinds in found.items() if name not in PUBLIC} == {}


HEX = hashlib.sha256(b"planted").hexdigest()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEEIIGk0000000000000000\n", "a private key"),
        (f'SIGNING_KEY = "{HEX}"', SECRET_BYTES),
        (f"webhook-secret: 0x{HEX}", SECRET_BYTES),
        (f'"apiToken": "{HEX}"', SECRET_BYTES),
        (f'KEY: Final = bytes.fromhex("{HEX}")', SECRET_BYTES),
        ("AKI" + "A" + "Q3EGRZ4WXYZ12345", "an AWS access key"),
        ("AWS_SECRET_ACCESS_KEY=" + HEX[:40], "an AWS secret"),
        ("gh" + "p_" + HEX[:36], "a GitHub token"),
        ("xox" + "b-" + HEX[:24], "a Slack token"),
        (".".join(("ey" + "J" + HEX[:20], "ey" + "J" + HEX[:20], HEX[:43])), "a signed JWT"),
        ("postgresql://fx_app:" + HEX[:12] + "@db.example.org/fx", "a password in an address"),
    ],
)
def test_a_planted_secret_is_caught(text: str, kind: str) -> None:
    assert kind in found_in(text)


@pytest.mark.parametrize(
    "text",
    [f'sha256 = "{HEX}"', f"--hash=sha256:{HEX}", f'TOPIC = "{HEX}"', 'password = "test-only"', f"key_sha256 {HEX}"],
)
def test_hashes_and_stand_ins_are_no_secrets(text: str) -> None:
    assert found_in(text) == []
