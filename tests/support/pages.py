"""A page of ours, as a strict reader has it."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Every element that is opened is closed, in order. ``seen`` are all of them with their attributes."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.style = ""
        self.text = ""
        assert html.lstrip().startswith("<!doctype html>")
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of this kind."""
        return [attributes for name, attributes in self.seen if name == tag]

    @property
    def inputs(self) -> dict[str, str]:
        """What its form posts unseen: value by name."""
        return {each["name"]: each["value"] for each in self.all("input")}

    @property
    def buttons(self) -> dict[str, str]:
        """The name under which each button posts its value, by value."""
        return {each["value"]: each["name"] for each in self.all("button")}

    @property
    def tags(self) -> set[str]:
        """Every kind of element in it."""
        return {name for name, _ in self.seen}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.seen.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It closes what was opened last."""
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        """Words for people, or the style sheet."""
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data
