"""`devregs serve-mock`."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .. import standin
from .._text import clean
from .options import OK, Failure, Parser, add_output
from .output import note, paint, print_json, print_table
from .target import load_board, load_map

# Exit codes of a shell, for a command that is not there and one that cannot be run.
NOT_THERE, NOT_RUN = 127, 126


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = (
        "devregs serve-mock [OPTION…] MAP [--exec COMMAND…]\n"
        "       devregs serve-mock --board FILE [OPTION…] [--exec COMMAND…]"
    )
    parser.add_argument("map", metavar="MAP", nargs="?", help="a map of the library, or a file")
    parser.add_argument(
        "--board", metavar="FILE", help="a board map with uio: sources: all its devices"
    )
    parser.add_argument(
        "--at",
        metavar="DIR",
        help="the folder to make, or an empty one (default: a new temporary one)",
    )
    parser.add_argument("--name", help="what uio:NAME calls the device (default: the map's name)")
    parser.add_argument(
        "--poll",
        type=float,
        default=0.001,
        metavar="S",
        help="look every S seconds at what others have written (default: 0.001)",
    )
    parser.add_argument(
        "--mark",
        action="store_true",
        help="show a 1 in a spare bit of registers whose bits act when written, to see more writes",
    )
    parser.add_argument("--trace", action="store_true", help="print each write that was seen")
    add_output(parser)
    parser.add_argument(
        "--exec",
        nargs=argparse.REMAINDER,
        metavar="COMMAND",
        help="all that follows: run it, end with its exit code; {root} in it is the folder",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM, or for as long as the command runs."""
    if not 0 < options.poll <= 1:
        raise Failure("--poll is a time in seconds: more than 0, at most 1")
    if (options.map is None) == (options.board is None):
        raise Failure("serve-mock needs a MAP or a --board; see devregs serve-mock --help")
    if options.exec is not None and not options.exec:
        raise Failure("--exec needs a command")
    stop = threading.Event()
    # Ctrl-C reaches the command by itself, and ends it or does not.
    on_interrupt = stop.set if options.exec is None else lambda: None
    handlers = {signal.SIGTERM: stop.set, signal.SIGINT: on_interrupt}
    with handled(handlers), _served(options) as made:
        if options.exec is not None:
            return _exec(
                [word.replace("{root}", str(made.root)) for word in options.exec], made, stop
            )
        if options.json:
            print_json(_data(made))
        else:
            _print(made)
        while not stop.wait(0.1) and not made.ended.is_set():
            pass
    return OK


def _served(options: argparse.Namespace) -> contextlib.AbstractContextManager[standin.StandIn]:
    trace = _Trace(options) if options.trace else None
    if options.board is not None:
        if options.name is not None:
            raise Failure("--board names its devices: --name has no place beside it")
        load_board(options.board)
        return standin.serve_board(
            options.board, options.at, poll=options.poll, mark=options.mark, seen=trace
        )
    device_map = load_map(options.map)
    return standin.serve(
        device_map,
        options.at,
        name=options.name,
        poll=options.poll,
        mark=options.mark,
        seen=trace,
    )


class _Trace:
    """Prints writes: on standard error where standard output is the command's."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._json, self._beside, self._start = (
            options.json,
            options.exec is not None,
            time.monotonic(),
        )

    def __call__(self, source: str, path: str, value: int) -> None:
        seconds = time.monotonic() - self._start
        line = f"{seconds:10.3f} s  {clean(source)}  {clean(path)}  {value:#x}"
        if self._json:
            import json

            line = json.dumps(
                {"seconds": round(seconds, 3), "source": source, "path": path, "value": value}
            )
        if self._beside:
            note(line.strip())
        else:
            print(line, flush=True)


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Let signals call these, in place of what they did."""

    def call(number: int, _: object) -> None:
        handlers[signal.Signals(number)]()

    before = {number: signal.signal(number, call) for number in handlers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exec(command: list[str], made: standin.StandIn, stop: threading.Event) -> int:
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        code = NOT_THERE if isinstance(error, FileNotFoundError) else NOT_RUN
        raise Failure(f"cannot run {clean(shlex.join(command))}: {error.strerror}", code) from error
    try:
        while process.poll() is None:
            if stop.wait(0.01) or made.ended.is_set():
                process.terminate()
                process.wait()
    finally:
        process.kill()
        process.wait()
    # As a shell tells of a signal.
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _print(made: standin.StandIn) -> None:
    root = shlex.quote(str(made.root))
    print(paint(f"serving under {clean(str(made.root))}", "bold"))
    print_table(
        ((served.source, served.map.name, clean(str(served.node)), "") for served in made),
        indent="  ",
    )
    served = made[0]
    origin = served.map.origin
    known = origin.startswith("builtin:")
    option = (
        ""
        if known and _found(served)
        else f" --map {shlex.quote(served.map.name if known else origin)}"
    )
    name = served.map.name if known else origin
    print("open it from a shell, from Python, or map the file:")
    print(f"  devregs dump --root {clean(root)}{clean(option)} {clean(shlex.quote(served.source))}")
    print(f"  devregs.open({name!r}, {served.source!r}, root={str(made.root)!r})")
    print("Ctrl-C ends it and removes what it made", flush=True)


def _found(served: standin.Served) -> bool:
    """Whether the map is the one that is taken where none is given."""
    from .. import _devregs

    found = [
        entry for entry in _devregs.scan(served.root) if f"uio:{served.number}" in entry["names"]
    ]
    return bool(found) and found[0]["fits"][:1] == [served.map.name]


def _data(made: standin.StandIn) -> dict[str, Any]:
    return {
        "root": str(made.root),
        "devices": [
            {
                "source": served.source,
                "device": served.map.name,
                "map": served.map.origin,
                "node": str(served.node),
                "regions": served.regions,
            }
            for served in made
        ],
    }
