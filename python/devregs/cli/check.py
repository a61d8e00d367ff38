"""`devregs check`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from .. import _devregs
from .._devregs import MapError
from .._text import clean
from . import model
from .options import NO, OK, Parser, add_output, message_of
from .output import count, paint, print_json

_PLACE = re.compile(
    r"(?P<file>.*?)(:(?P<line>\d+):(?P<column>\d+))?: (?P<severity>error|warning): (?P<message>.*)"
)


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a device map, or a board map")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Print every mistake of every file; 1 where there is one."""
    results = [_check(file) for file in options.files]
    good = all(
        result["ok"] and not (options.strict and result["diagnostics"]) for result in results
    )
    if options.json:
        print_json(results)
    else:
        for result in results:
            _print(result)
    return OK if good else NO


def _check(file: str) -> dict[str, Any]:
    board = _is_board(file)
    kind = "board" if board else "device"
    result: dict[str, Any] = {"file": file, "kind": kind, "ok": True, "summary": ""}
    try:
        if board:
            devices = _devregs.load_board(file)
            # Two devices with one map say the same.
            texts = list(
                dict.fromkeys(t for entry in devices.values() for t in entry["map"].warnings)
            )
            result["summary"] = count(len(devices), "device")
        else:
            # As a path: a bare word would be the name of a map of the library.
            found = _devregs.load(Path(file))
            texts = found.warnings
            registers, regions = model.counts(model.of(found))
            result["summary"] = f"{count(regions, 'region')}, {count(registers, 'register')}"
    except MapError as error:
        result["ok"] = False
        texts = _split(message_of(error))
    result["diagnostics"] = [_diagnostic(text, file, result["ok"]) for text in texts]
    return result


def _is_board(file: str) -> bool:
    """Whether a file lists devices. One that cannot be parsed is left to the core to explain."""
    import tomllib

    try:
        with Path(file).open("rb") as opened:
            return "devices" in tomllib.load(opened)
    except (OSError, ValueError, RecursionError):
        return False


def _split(text: str) -> list[str]:
    """The mistakes in an error's text: each begins at the margin, and what follows is indented."""
    found: list[str] = []
    for line in text.split("\n"):
        if found and (not line or line[0] == " "):
            found[-1] += f"\n{line}"
        elif not re.fullmatch(r"\d+ errors", line):
            found.append(line)
    return found


def _diagnostic(text: str, file: str, ok: bool) -> dict[str, Any]:
    first, *rest = text.split("\n")
    place = _PLACE.fullmatch(first)
    helps = [line.partition("help: ")[2] for line in rest if line.startswith("   help: ")]
    return {
        "file": place["file"] if place else file,
        "line": int(place["line"]) if place and place["line"] else None,
        "column": int(place["column"]) if place and place["column"] else None,
        "severity": place["severity"] if place else ("warning" if ok else "error"),
        "message": place["message"] if place else first,
        "help": helps[0] if helps else None,
        "text": text,
    }


def _print(result: dict[str, Any]) -> None:
    for found in result["diagnostics"]:
        first, *rest = found["text"].split("\n")
        colour = "red" if found["severity"] == "error" else "yellow"
        mark = f"{found['severity']}:"
        print("\n".join([first.replace(mark, paint(mark, colour), 1), *rest]))
    file, number = clean(result["file"]), len(result["diagnostics"])
    if not result["ok"]:
        print(f"{file}: {paint(count(number, 'error'), 'red')}")
    else:
        warnings = f", {count(number, 'warning')}" if number else ""
        print(f"{file}: {paint('ok', 'green')}: {result['summary']}{warnings}")
