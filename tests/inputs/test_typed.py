"""What a person types at the command line is held to the rules of the API (issue 9, A12)."""

from __future__ import annotations

import pytest
import typer

from fintokenx.app.cli.common import typed_address, typed_text


@pytest.mark.parametrize("address", ["mlro@tnt_x.example", "a,b@x.example", "<a@x.example>", "nobody"])
def test_staff_and_tenants_get_addresses_to_which_mail_can_be_sent(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed_address("Ada@X.example") == "Ada@x.example"
    with pytest.raises(typer.Exit):
        typed_address(address)
    assert "that is not an e-mail address to which a mail can be sent" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\u202eadA", "x" * 201])
def test_names_are_visible(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed_text(" Ada\u00a0Byron ", "a person's name") == "Ada Byron"
    with pytest.raises(typer.Exit):
        typed_text(name, "a person's name")
    assert "a person's name has 1 to 200 visible characters" in capsys.readouterr().err
