"""The pieces of a page; every piece is a string of finished, escaped HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class Cell:
    """A table cell: escaped text, or finished ``markup``; ``kind`` is a CSS class."""

    text: str = ""
    kind: str = ""
    markup: str | None = None

    @property
    def html(self) -> str:
        inside = html.escape(self.text) if self.markup is None else self.markup
        return f'<td class="{self.kind}">{inside}</td>' if self.kind else f"<td>{inside}</td>"


def page(title: str, subtitle: str, *, sections: Sequence[str]) -> str:
    """One self-contained page."""
    head = html.escape(title)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{head}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f'<body><h1>{head}</h1><p class="soft">{html.escape(subtitle)}</p>\n'
        + "\n".join(sections)
        + "\n<footer>Made by filigree. This page needs nothing but itself.</footer></body></html>\n"
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """The numbers that matter, as cards."""
    cards = "".join(
        f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd></div>"
        for label, value in pairs
    )
    return f'<dl class="facts">{cards}</dl>'


def section(title: str, explanation: str, *, body: str) -> str:
    """A heading, a sentence on how to read what follows, and the body."""
    text = f'<p class="soft">{html.escape(explanation)}</p>' if explanation else ""
    return f"<section><h2>{html.escape(title)}</h2>{text}{body}</section>"


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; a header cell is right-aligned where the first row's cell is a number."""
    kinds = [cell.kind for cell in rows[0]] if rows else [""] * len(header)
    head = "".join(
        f'<th class="num">{html.escape(text)}</th>'
        if kind == "num"
        else f"<th>{html.escape(text)}</th>"
        for text, kind in zip(header, kinds, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell.html for cell in row)}</tr>\n" for row in rows)
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{whole}</div>'
