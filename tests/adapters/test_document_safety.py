"""Documents that carry more than an invoice are refused by name, and reading them in isolation."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintokenx.adapters.documents import IsolatedReader, Limits, TextReader
from fintokenx.kernel.money import Pence
from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    DamagedDocument,
    DocumentReader,
    DocumentRefused,
    EmptyFile,
    EncryptedDocument,
    FileTooLarge,
    TooManyPages,
    UnsupportedContent,
)
from tests.adapters.papers import HARBOUR, MILLRACE, SAMPLES, altered, read

TERN = (SAMPLES / "tern-instruments.pdf").read_bytes()

# --- safety -------------------------------------------------------------------------------------------------------


def javascript(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert(1)"))


def launch_link(pdf: pikepdf.Pdf) -> None:
    action = pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("cmd.exe"))
    pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])


def additional_actions(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].AA = pikepdf.Dictionary(O=pikepdf.Dictionary(S=pikepdf.Name.Named, N=pikepdf.Name.NextPage))


def open_a_web_page(pdf: pikepdf.Pdf) -> None:
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))


def chained_action(pdf: pikepdf.Pdf) -> None:
    following = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))
    pdf.Root.OpenAction = pikepdf.Dictionary(S=pikepdf.Name.GoTo, D=pikepdf.String("x"), Next=following)


def submit_form(pdf: pikepdf.Pdf) -> None:
    pdf.Root.X = pdf.make_indirect(pikepdf.Dictionary(S=pikepdf.Name.SubmitForm))


def xfa_form(pdf: pikepdf.Pdf) -> None:
    pdf.Root.AcroForm = pikepdf.Dictionary(XFA=pdf.make_stream(b"<xdp/>"))


def rich_media(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.RichMedia)])


def attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["run-me.exe"] = b"MZ"


def second_attachment(pdf: pikepdf.Pdf) -> None:
    pdf.attachments["factur-x.xml"] = b"<a/>"
    pdf.attachments["zugferd-invoice.xml"] = b"<a/>"


@pytest.mark.parametrize(
    "change",
    [
        javascript,
        launch_link,
        additional_actions,
        open_a_web_page,
        chained_action,
        submit_form,
        xfa_form,
        rich_media,
        attachment,
        second_attachment,
    ],
)
def test_active_content_is_refused(change: Callable[[pikepdf.Pdf], None]) -> None:
    with pytest.raises(ActiveContent):
        TextReader().inspect(altered(change))


@pytest.mark.parametrize("object_streams", [pikepdf.ObjectStreamMode.disable, pikepdf.ObjectStreamMode.generate])
def test_a_script_is_found_in_object_streams_too(object_streams: pikepdf.ObjectStreamMode) -> None:
    with pytest.raises(ActiveContent):
        TextReader().inspect(altered(javascript, object_stream_mode=object_streams))


def test_an_opening_position_and_a_web_link_are_no_active_content() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.Root.OpenAction = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])
        action = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.test/"))
        pdf.pages[0].Annots = pikepdf.Array([pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=action)])

    assert TextReader().inspect(altered(change)) == "pdf"


@pytest.mark.parametrize("password", ["", "secret"])
def test_every_encrypted_pdf_is_refused_even_one_that_opens_without_a_password(password: str) -> None:
    locked = altered(lambda pdf: None, encryption=pikepdf.Encryption(owner="owner", user=password))
    with pytest.raises(EncryptedDocument):
        TextReader().inspect(locked)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_pdf_is_refused_even_where_a_page_could_be_recovered(share: float) -> None:
    with pytest.raises(DamagedDocument):
        TextReader().inspect(HARBOUR[: int(len(HARBOUR) * share)])


def test_a_second_file_behind_the_pdf_is_refused() -> None:
    with pytest.raises(DamagedDocument):
        TextReader().inspect(HARBOUR + b"PK\x03\x04")


def test_a_pdf_that_unpacks_to_too_much_is_refused() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        bomb = pdf.make_stream(b"")
        bomb.write(zlib.compress(bytes(200 * 1024 * 1024), 9), filter=pikepdf.Name.FlateDecode)
        pdf.pages[0].Contents = bomb

    with pytest.raises(FileTooLarge):
        TextReader().inspect(altered(change))


def test_many_streams_that_unpack_to_too_much_together_are_refused() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        packed = zlib.compress(bytes(31 * 1024 * 1024), 9)
        for index in range(6):
            part = pdf.make_stream(b"")
            part.write(packed, filter=pikepdf.Name.FlateDecode)
            pdf.Root[f"/Part{index}"] = part

    with pytest.raises(FileTooLarge):
        TextReader().inspect(altered(change))


def test_limits_are_kept() -> None:
    def change(pdf: pikepdf.Pdf) -> None:
        pdf.add_blank_page()
        pdf.add_blank_page()

    three_pages = altered(change)
    assert TextReader(Limits(pages_max=3)).inspect(three_pages) == "pdf"
    with pytest.raises(TooManyPages):
        TextReader(Limits(pages_max=2)).inspect(three_pages)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(bytes_max=len(HARBOUR) - 1)).inspect(HARBOUR)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(xml_bytes_max=len(MILLRACE) - 1)).inspect(MILLRACE)
    with pytest.raises(FileTooLarge):
        TextReader(Limits(xml_bytes_max=1_000)).inspect(TERN)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", EmptyFile),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), UnsupportedContent),
        (b"MZ" + bytes(100), UnsupportedContent),
        (b"PK\x03\x04" + HARBOUR, UnsupportedContent),
        (b"<html><body>Invoice</body></html>", UnsupportedContent),
        (b"<Invoice", DamagedDocument),
        (MILLRACE.decode().encode("utf-32"), UnsupportedContent),
        (MILLRACE.decode().encode("utf-16")[:-1], UnsupportedContent),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"), ActiveContent),
        ("<a>\u202e</b>".encode("utf-16"), DamagedDocument),
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', ActiveContent),
        (
            b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
            ActiveContent,
        ),
        (b'<?xml version="1.0" encoding="UTF-7"?><a>+ADwAIQ-DOCTYPE</a>', UnsupportedContent),
    ],
)
def test_content_decides_and_not_the_name(content: bytes, refusal: type[DocumentRefused]) -> None:
    with pytest.raises(refusal):
        TextReader().inspect(content)


FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def refuses_or_reads(content: bytes) -> None:
    """Anything else than a refusal by name fails the test by itself."""
    try:
        reading = read(content)
    except DocumentRefused:
        return
    assert 0 <= reading.confidence_bps <= 10_000


@FUZZ
@given(st.binary(max_size=300), st.sampled_from([b"", b"%PDF-1.7\n", b"<?xml version='1.0'?>", b"<"]))
def test_random_bytes_are_refused_by_name(tail: bytes, head: bytes) -> None:
    with pytest.raises(DocumentRefused):
        read(head + tail)


@FUZZ
@given(st.sampled_from([HARBOUR, MILLRACE, TERN]), st.data())
def test_flipped_bytes_never_raise_anything_but_a_refusal(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    refuses_or_reads(bytes(damaged))


@FUZZ
@given(st.sampled_from([HARBOUR, MILLRACE, TERN]), st.floats(0, 1), st.floats(0, 1))
def test_removed_stretches_never_raise_anything_but_a_refusal(content: bytes, one: float, other: float) -> None:
    start, end = sorted((int(one * len(content)), int(other * len(content))))
    refuses_or_reads(content[:start] + content[end:])


# --- isolation ----------------------------------------------------------------------------------------------------


def test_the_isolated_reader_reads_what_the_reader_reads() -> None:
    reader: DocumentReader = IsolatedReader()
    assert reader.inspect(TERN) == "factur_x"
    assert reader.read(TERN) == read(TERN)


def test_refusals_cross_the_process_boundary_by_name() -> None:
    with pytest.raises(ActiveContent) as refused:
        IsolatedReader().inspect(altered(javascript))
    assert refused.value.detail
    with pytest.raises(FileTooLarge):
        IsolatedReader(Limits(bytes_max=10)).read(HARBOUR)


def test_a_worker_that_takes_too_long_is_ended_and_the_next_document_is_read() -> None:
    with pytest.raises(DamagedDocument):
        IsolatedReader(timeout_seconds=0.01).read(HARBOUR)
    assert IsolatedReader().inspect(HARBOUR) == "pdf"


def test_a_worker_that_dies_of_its_memory_limit_is_a_damaged_document() -> None:
    """Less address space than is mapped already, and a document that does not fit into what is free of that."""
    with pytest.raises(DamagedDocument):
        IsolatedReader(address_space_bytes=32 * 1024 * 1024).read(MILLRACE + b" " * 1_900_000)


def test_the_isolated_reader_serves_several_threads() -> None:
    reader = IsolatedReader(workers_max=2)
    totals: list[Pence | None] = []
    threads = [threading.Thread(target=lambda: totals.append(reader.read(HARBOUR).fields.total)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert totals == [read(HARBOUR).fields.total] * 3
