"""What the commands have in common: options, exit codes, errors."""

from __future__ import annotations

import argparse
from typing import NoReturn

from .._devregs import AccessError, BusError, DevregsError, MapError, SourceError, WaitTimeout
from .._text import clean
from .help import CODES

OK, NO, USAGE, SOURCE, BUS, TIMEOUT = range(6)
INTERRUPTED = 130
PIPE = 141


class Failure(Exception):
    """Ends the command with a message and an exit code."""

    def __init__(self, text: str, code: int = USAGE) -> None:
        super().__init__(text)
        self.code = code


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours to print, and whose help ends with the exit codes."""

    def __init__(self, prog: str, description: str) -> None:
        # No abbreviations: a script must not change its meaning when an option is added.
        super().__init__(
            prog=prog,
            description=description,
            epilog=CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what the argument parser has to say."""
        raise Failure(f"{message}; see {self.prog} --help")


def add_output(parser: Parser) -> None:
    """The option for JSON."""
    parser.add_argument("--json", action="store_true", help="print data as JSON")


def add_root(parser: Parser) -> None:
    """The option that says where the system's folders are."""
    parser.add_argument(
        "--root", default="/", metavar="DIR", help="where /dev, /sys and /proc are (default: /)"
    )


def add_source(parser: Parser) -> None:
    """The options of commands that open a source."""
    parser.add_argument("--map", metavar="MAP", help="a map of the library, or a file")
    parser.add_argument(
        "--board", metavar="FILE", help="a board map; its devices take the place of sources"
    )
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="open even where the device is not what the map expects",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="while writing, keep out other processes that opened the device so",
    )
    add_root(parser)
    add_output(parser)


def code_of(error: Exception) -> int:
    """The exit code of an error; 0 for one that is a mistake of the program itself."""
    if isinstance(error, Failure):
        return error.code
    # Timeouts and bus errors are OSErrors too, so the order matters.
    for kind, code in (
        (WaitTimeout, TIMEOUT),
        (BusError, BUS),
        (SourceError, SOURCE),
        (MapError, USAGE),
        (AccessError, NO),
        (DevregsError, NO),
        (OSError, NO),
        (BufferError, NO),
    ):
        if isinstance(error, kind):
            return code
    return 0


def message_of(error: BaseException) -> str:
    """An error's text, without the number of the system's error, fit for a terminal."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = (
            str(error.strerror) if error.filename is None else f"{error.filename}: {error.strerror}"
        )
    return "\n".join(clean(line) for line in text.split("\n"))
