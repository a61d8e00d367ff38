"""How results are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from .._text import columns

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def print_json(data: Any) -> None:
    """Print data as indented JSON, in ASCII."""
    import json

    print(json.dumps(data, indent=2))


def width() -> int | None:
    """Columns of the terminal that the output goes to; None where it goes elsewhere."""
    if not sys.stdout.isatty():
        return None
    from shutil import get_terminal_size

    return get_terminal_size().columns


def coloured() -> bool:
    """Whether the output takes colour: it is a terminal, and NO_COLOR is not set."""
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, style: str) -> str:
    """The text in bold, dim, red, green or yellow, where the output takes colour."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text and coloured() else text


def print_table(
    rows: Iterable[Sequence[str]],
    *,
    head: Sequence[str] = (),
    indent: str = "",
    dim: Sequence[int] = (),
) -> None:
    """Print aligned columns. The last one is doc text, and cut at the terminal's width.

    Columns whose index is in `dim` are dimmed.
    """
    rows = list(rows)
    if head:
        first, *rest = columns([head, *rows], width=width(), indent=indent)
        print(paint(first, "bold"))
        lines = rest
    else:
        lines = columns(
            rows,
            width=width(),
            indent=indent,
            style=lambda at, text: paint(text, "dim") if at in dim else text,
        )
    for line in lines:
        print(line)


def count(number: int, word: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number} {word}{'s' * (number != 1)}"


def note(text: str) -> None:
    """Say something beside the data."""
    print(f"devregs: {text}", file=sys.stderr)
