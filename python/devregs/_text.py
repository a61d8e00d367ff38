"""Text in columns, and text from map files made fit for a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence

# What separates columns.
GAP = "  "


def clean(text: str) -> str:
    """The text with control characters, line ends and marks of direction spelled out."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def summary(doc: str | None) -> str:
    """The first paragraph of a doc text in one line, clean."""
    first = re.split(r"\n\s*\n", (doc or "").strip(), maxsplit=1)[0]
    return clean(" ".join(first.split()))


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def cut(text: str, width: int | None) -> str:
    """The text, ended with … where it would be longer than `width` columns."""
    if width is None or cells(text) <= width:
        return text
    width = max(width, 1)
    while cells(text) > width - 1:
        text = text[:-1]
    return text + "…"


def columns(
    rows: Iterable[Sequence[str]],
    *,
    width: int | None = None,
    indent: str = "",
    style: Callable[[int, str], str] | None = None,
) -> list[str]:
    """Lines of aligned columns. Only the last column may be cut, to keep lines at `width` columns.

    `style(column, text)` may add colour to a cell once it has its place.
    """
    rows = [list(row) for row in rows]
    count = max((len(row) for row in rows), default=0)
    widths = [max(cells(row[at]) if at < len(row) else 0 for row in rows) for at in range(count)]
    kept = [at for at in range(count) if widths[at]]
    lines = []
    for row in rows:
        line, used = indent, cells(indent)
        for at in kept:
            text = row[at] if at < len(row) else ""
            if at == count - 1 and width is not None:
                text = cut(text, max(width - used, 16))
            pad = " " * (widths[at] - cells(text)) + GAP
            line += (style(at, text) if style and text else text) + pad
            used += cells(text) + len(pad)
        lines.append(line.rstrip())
    return lines


def near(word: str, known: Collection[str]) -> str:
    """The end of a message: which known word may have been meant."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    return f"; did you mean {clean(close[0])}?" if close else ""
