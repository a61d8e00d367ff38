"""The command line: `devregs COMMAND …`. Each command is a module, imported when it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .options import INTERRUPTED, OK, PIPE, Failure, Parser, code_of, message_of

# What is run: its module, and one line about it.
COMMANDS = {
    "scan": ("scan", "UIO devices and PCI functions of this machine, and the maps that fit"),
    "maps": ("show", "the maps of the library"),
    "show": ("show", "a map: regions, registers, fields, access, side effects, values"),
    "check": ("check", "every mistake in map files and board files"),
    "dump": ("dump", "all registers that may be read, decoded"),
    "read": ("read", "some registers, fields or plain words"),
    "write": ("write", "some registers, fields or plain words"),
    "snapshot": ("snapshot", "what all registers that may be read hold, to keep and compare"),
    "diff": ("snapshot", "what differs between two snapshots, or a snapshot and a device"),
    "restore": ("snapshot", "write back what a snapshot holds, where that is safe"),
    "irq": ("irq", "wait for interrupts and count them"),
    "doctor": ("doctor", "why a source does not open, and what would make it"),
    "serve-mock": ("serve_mock", "a mock that other programs map, as a UIO device of a folder"),
    "stubs": ("stubs", "type stubs of a map, for editors and type checkers"),
}

# Options that may stand before the command, and whether a value follows.
EARLY = {
    "--map": True,
    "--board": True,
    "--root": True,
    "--no-verify": False,
    "--shared": False,
    "--json": False,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments (default: the process's); return the exit code."""
    try:
        code = _guarded(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads the output has seen enough. What is left in the buffer goes nowhere at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return PIPE
    except OSError as error:
        # The flush failed: the disk of a redirected output is full, for instance.
        return _complain(error)
    return code


def _guarded(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A terminal or file that cannot show a character shows its code.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        return _run(argv)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK
    except Exception as error:
        code = _complain(error)
        if code == 0:
            raise
        return code


def _complain(error: Exception) -> int:
    """Say what went wrong; return the exit code, or 0 for a mistake of the program itself."""
    code = code_of(error)
    if code:
        print(f"devregs: error: {message_of(error)}", file=sys.stderr)
    return code


def _run(argv: list[str]) -> int:
    from importlib import import_module

    at = _command_at(argv)
    early, rest = argv[:at], argv[at:]
    if not rest:
        return _without_command(early)
    name = rest[0]
    if name not in COMMANDS:
        raise Failure(_unknown(name))
    module, about = COMMANDS[name]
    command = import_module(f".{module}", __name__)
    # A module with several commands has a pair of functions for each.
    suffix = "" if module == name.replace("-", "_") else f"_{name}"
    parser = Parser(prog=f"devregs {name}", description=f"{about[0].upper()}{about[1:]}.")
    getattr(command, f"configure{suffix}")(parser)
    return int(getattr(command, f"run{suffix}")(parser.parse_intermixed_args(early + rest[1:])))


def _command_at(argv: list[str]) -> int:
    """The index of the first word that is no option and no option's value."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if EARLY.get(argv[at]) else 1
    return min(at, len(argv))


def _without_command(argv: list[str]) -> int:
    from .help import TEXT

    if "--version" in argv or "-V" in argv:
        from .. import __version__

        print(f"devregs {__version__}")
        return OK
    if "--help" in argv or "-h" in argv:
        print(
            TEXT.format(
                commands="\n".join(f"  {name:<10} {about}" for name, (_, about) in COMMANDS.items())
            )
        )
        return OK
    wrong = [word for word in argv if word.startswith("-") and word.split("=")[0] not in EARLY]
    if wrong:
        raise Failure(f"unknown option {wrong[0]}; see devregs --help")
    raise Failure(f"a command is missing: {', '.join(COMMANDS)}; see devregs --help")


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    from .._text import clean

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(COMMANDS)}"
    return f"unknown command {clean(name)!r}; {hint}"
