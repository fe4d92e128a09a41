"""The text layer of a PDF as cells on rows: what stands left of, right of and under what.

A cell is a run of words with no gap as wide as an em, and no ``|``, ``·`` or ``•``, between them.
Coordinates are points from the top left of the page as a person sees it, so that a row reads left to
right and rows read downwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pypdfium2
import pypdfium2.raw as pdfium_raw

from fintokenx.lifecycle.invoice.ports import DamagedDocument, FileTooLarge

CHARACTERS_MAX: Final = 400_000
_CELL_GAP_EMS: Final = 0.95
_SEPARATORS: Final = "|·•"
_SPACE_GAP_EMS: Final = 0.16
_EM_OF_BOX: Final = 0.84
"""A character's loose box is its ascent plus descent: near enough 1.19 em in common fonts."""
_WITHOUT_INK: Final = frozenset({0xA0, 0xAD, *range(0x2000, 0x2010), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF})
"""Spaces of all widths, soft hyphens, joiners and marks: the gap that they leave is what counts."""
_INVISIBLE: Final = 3
"""Text rendering mode 3: neither fill nor stroke (ISO 32000-1 table 106)."""


@dataclass(frozen=True, slots=True)
class Glyph:
    """One visible character and its box."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def em(self) -> float:
        """The font size, in points, near enough."""
        return max((self.bottom - self.top) * _EM_OF_BOX, 1.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """A run of words on one row."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    row: int
    """Counted through all pages."""
    page: int

    @property
    def height(self) -> float:
        """Of the tallest character's box, in points."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True)
class Layout:
    """All pages. ``flow`` is the text in the order in which the file draws it, one space between words."""

    rows: tuple[tuple[Cell, ...], ...]
    flow: str
    text: str
    """The text layer as extracted, for the archive."""
    has_invisible_text: bool

    @property
    def cells(self) -> Iterator[Cell]:
        """Row by row, left to right."""
        return (cell for row in self.rows for cell in row)


def lay_out(content: bytes) -> Layout:
    """Read the text layer of every page. Renders nothing and follows no link.

    :raises DamagedDocument: PDFium cannot open a page
    :raises FileTooLarge: more than 400,000 characters of text
    """
    try:
        return _lay_out(content)
    except pypdfium2.PdfiumError as error:
        raise DamagedDocument("a page cannot be read") from error


def _lay_out(content: bytes) -> Layout:
    rows: list[tuple[Cell, ...]] = []
    texts: list[str] = []
    characters = 0
    invisible = False
    document = pypdfium2.PdfDocument(content)
    try:
        for index in range(len(document)):
            page = document[index]
            text_page = page.get_textpage()
            characters += text_page.count_chars()
            if characters > CHARACTERS_MAX:
                raise FileTooLarge("more text than an invoice has")
            glyphs, some_invisible = _glyphs(page, text_page)
            invisible = invisible or some_invisible
            for line in _lines(glyphs):
                rows.append(tuple(_cells(line, row=len(rows), page=index)))
            texts.append(text_page.get_text_range().replace("\r\n", "\n"))
            text_page.close()
            page.close()
    finally:
        document.close()
    text = "\n".join(texts).replace("￾", "-").replace("\x00", "")
    return Layout(tuple(rows), " ".join(text.split()), text, invisible)


def _glyphs(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage) -> tuple[list[Glyph], bool]:
    """The characters that can be seen on the page, and whether there are some that cannot."""
    turns = page.get_rotation() // 90
    crop = page.get_cropbox()
    glyphs: list[Glyph] = []
    invisible = False
    for index in range(text_page.count_chars()):
        codepoint = pdfium_raw.FPDFText_GetUnicode(text_page, index)
        if codepoint <= 0x20 or codepoint in _WITHOUT_INK or 0xD800 <= codepoint <= 0xDFFF or codepoint > 0x10FFFF:
            continue
        left, bottom, right, top = text_page.get_charbox(index, loose=True)
        if right <= crop[0] or left >= crop[2] or top <= crop[1] or bottom >= crop[3]:
            continue
        drawn_by = pdfium_raw.FPDFText_GetTextObject(text_page, index)
        if drawn_by and pdfium_raw.FPDFTextObj_GetTextRenderMode(drawn_by) == _INVISIBLE:
            invisible = True
        character = "-" if codepoint in (0xFFFE, 0x2010, 0x2011) else chr(codepoint)
        glyphs.append(_turned(character, (left, bottom, right, top), crop, turns))
    return glyphs, invisible


def _turned(
    character: str,
    box: tuple[float, float, float, float],
    crop: tuple[float, float, float, float],
    turns: int,
) -> Glyph:
    """Page space (up is positive, before /Rotate) to what the reader sees (down is positive)."""
    left, bottom, right, top = box
    if turns == 1:
        return Glyph(character, bottom - crop[1], left - crop[0], top - crop[1], right - crop[0])
    if turns == 2:
        return Glyph(character, crop[2] - right, bottom - crop[1], crop[2] - left, top - crop[1])
    if turns == 3:
        return Glyph(character, crop[3] - top, crop[2] - right, crop[3] - bottom, crop[2] - left)
    return Glyph(character, left - crop[0], crop[3] - top, right - crop[0], crop[3] - bottom)


def _lines(glyphs: list[Glyph]) -> list[list[Glyph]]:
    """Characters whose middles are on one height, top line first, each line left to right."""
    lines: list[list[Glyph]] = []
    middle = 0.0
    for glyph in sorted(glyphs, key=lambda each: (each.top + each.bottom) / 2):
        height = (glyph.top + glyph.bottom) / 2
        if lines and abs(height - middle) < 0.32 * min(glyph.em, lines[-1][0].em):
            lines[-1].append(glyph)
        else:
            lines.append([glyph])
            middle = height
    return [sorted(line, key=lambda each: each.left) for line in lines]


def _cells(line: list[Glyph], *, row: int, page: int) -> Iterator[Cell]:
    run: list[Glyph] = []
    words = ""
    reach = 0.0
    for index, glyph in enumerate(line):
        gap = (glyph.left - reach) / glyph.em
        separates = glyph.text in _SEPARATORS and not _is_decimal_point(line, index)
        if run and (gap > _CELL_GAP_EMS or separates):
            yield _cell(run, words, row, page)
            run, words = [], ""
        if separates:
            continue
        words += (" " if run and gap > _SPACE_GAP_EMS else "") + glyph.text
        run.append(glyph)
        reach = max(reach, glyph.right) if len(run) > 1 else glyph.right
    if run:
        yield _cell(run, words, row, page)


def _is_decimal_point(line: list[Glyph], index: int) -> bool:
    """``£1,234·56``: a dot at mid-height, close between digits."""
    if line[index].text != "·" or not 0 < index < len(line) - 1:
        return False
    before, dot, after = line[index - 1 : index + 2]
    close = max(dot.left - before.right, after.left - dot.right) < _SPACE_GAP_EMS * dot.em
    return close and before.text.isdigit() and after.text.isdigit()


def _cell(run: list[Glyph], words: str, row: int, page: int) -> Cell:
    return Cell(
        text=words,
        left=run[0].left,
        top=min(glyph.top for glyph in run),
        right=max(glyph.right for glyph in run),
        bottom=max(glyph.bottom for glyph in run),
        row=row,
        page=page,
    )
