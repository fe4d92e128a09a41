"""docs/sandbox.md: the mock bank takes what the document says, and the document names every control route."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fintokenx.kernel.clock import FixedClock
from fintokenx.sandbox.providers.bank import create_app
from tests.adapters.bank_house import NOON, OUR_KEY
from tests.support import ROOT
from tests.support.fakes.credentials import FixedCredential

pytestmark = pytest.mark.anyio

DOCUMENT = (ROOT / "docs/sandbox.md").read_text()
EXAMPLE = re.compile(r"^(GET|POST) (/control/\S+)(?:\n(\{.*\}))?$", re.MULTILINE)
BLOCKS = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)


async def test_the_mock_bank_takes_every_request_of_the_document(tmp_path: Path) -> None:
    requests = [found for block in BLOCKS.findall(DOCUMENT) for found in EXAMPLE.findall(block)]
    assert len(requests) >= 9
    pem = OUR_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    app = create_app(
        state_path=tmp_path / "bank.jsonl", clock=FixedClock(NOON), clearbank_token=FixedCredential("t"),
        clearbank_public_key_pem=pem, open_banking_token=FixedCredential("t"),
    )  # fmt: skip
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bank") as http:
        for method, path, body in requests:
            answer = await http.request(method, path, json=json.loads(body) if body else None)
            assert answer.is_success, f"{method} {path}: {answer.text}"
    for path in {route.path for route in app.routes if route.path.startswith("/control/")}:
        assert path.split("/{")[0] in DOCUMENT, f"{path} is not in the document"
