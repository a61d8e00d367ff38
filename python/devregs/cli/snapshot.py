"""`devregs snapshot`, `devregs diff` and `devregs restore`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._text import clean
from ..restore import Restored
from ..snapshot import Change, Snapshot
from .options import BUS, NO, OK, USAGE, Failure, Parser, add_source, code_of, message_of
from .output import count, note, print_json, print_table
from .target import Bench, load_map

# Sources that do not tell what they are: the snapshot beside them does.
_MUTE = ("mem", "ram", "file", "mock")


def configure(parser: Parser) -> None:
    """The options of `snapshot`."""
    parser.usage = (
        "devregs snapshot [OPTION…] SOURCE [PATH…]\n"
        "       devregs snapshot --board FILE [OPTION…] DEVICE [PATH…]"
    )
    parser.add_argument(
        "words",
        metavar="SOURCE",
        nargs="+",
        help="the source, then registers, groups, or patterns with * and ? (default: all of it)",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the file to write (default: print it, decoded)"
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Take a snapshot, and write or print it. A register that faults has its error in it."""
    source, *paths = options.words
    with Bench(options) as bench:
        snapshot = bench.device(source).snapshot(only=paths or None)
    if options.output is not None:
        snapshot.save(options.output)
        left = f", {len(snapshot.skipped)} not read" if snapshot.skipped else ""
        note(f"wrote {clean(options.output)}: {count(len(snapshot), 'register')}{left}")
    if options.json:
        print(snapshot.to_json(), end="")
    elif options.output is None:
        print(snapshot)
    return _faults(snapshot)


def configure_diff(parser: Parser) -> None:
    """The options of `diff`."""
    parser.usage = "devregs diff [OPTION…] A B"
    for name in ("a", "b"):
        parser.add_argument(
            name, metavar=name.upper(), help="a snapshot's file, or a source (--board: a device)"
        )
    parser.add_argument(
        "--ignore",
        metavar="PATH",
        action="append",
        default=[],
        help="a register, group, field, or pattern with * and ?, that does not count; may be repeated",
    )
    add_source(parser)


def run_diff(options: argparse.Namespace) -> int:
    """Print what differs. Exit codes are those of diff(1): 0 the same, 1 different, 2 and up trouble."""
    with _trouble():
        first, second = _both(options)
        changes = first.diff(second, ignore=options.ignore)
    if options.json:
        print_json([_change(change) for change in changes])
    else:
        print_table((clean(change.path), change.values, change.details, "") for change in changes)
    return max(_faults(first), _faults(second)) or (NO if changes else OK)


def configure_restore(parser: Parser) -> None:
    """The options of `restore`."""
    parser.usage = (
        "devregs restore [OPTION…] SOURCE FILE [PATH…]\n"
        "       devregs restore --board FILE [OPTION…] DEVICE FILE [PATH…]"
    )
    parser.add_argument("source", metavar="SOURCE", help="the source, or a device of the board")
    parser.add_argument("file", metavar="FILE", help="the snapshot")
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="registers, groups, or patterns with * and ? (default: all that is safe); a register "
        "whose write may do more than store is written only if its whole path is given",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, and say what would be written"
    )
    add_source(parser)


def run_restore(options: argparse.Namespace) -> int:
    """Write back what differs. The exit code tells of what reads back differently."""
    snapshot = _load(options, options.file)
    _map_from(options, snapshot, options.source)
    with Bench(options) as bench:
        device = bench.device(options.source)
        done = device.restore(snapshot, only=options.paths or None, dry_run=options.dry_run)
    if options.json:
        print_json(_data(done))
    else:
        print(done)
    return BUS if done.errors else NO if done.differs else OK


def _both(options: argparse.Namespace) -> tuple[Snapshot, Snapshot]:
    """The snapshots compared. A device is looked at in as much as a snapshot beside it has."""
    names = (options.a, options.b)
    files = [_load(options, name) if _is_file(options, name) else None for name in names]
    kept = next((file for file in files if file is not None), None)
    for name, file in zip(names, files, strict=True):
        if file is None and kept is not None:
            _map_from(options, kept, name)
    with Bench(options) as bench:
        first, second = (
            bench.device(name).snapshot(only=kept.only if kept else None) if file is None else file
            for name, file in zip(names, files, strict=True)
        )
    return first, second


def _is_file(options: argparse.Namespace, name: str) -> bool:
    """Whether a word is the file of a snapshot: a source has a colon behind its kind."""
    if Path(name).is_file():
        return True
    if options.board is None and ":" not in name:
        raise Failure(f"{clean(name)} is neither a file nor a source")
    return False


def _load(options: argparse.Namespace, file: str) -> Snapshot:
    try:
        return Snapshot.load(file, None if options.map is None else load_map(options.map))
    except FileNotFoundError as error:
        raise Failure(f"{clean(file)}: there is no such file") from error


def _map_from(options: argparse.Namespace, snapshot: Snapshot, source: str) -> None:
    """Let a snapshot name the map of a source that does not tell what it is."""
    if options.map is None and options.board is None and source.partition(":")[0] in _MUTE:
        origin = snapshot.map.origin
        options.map = snapshot.name if origin.startswith("builtin:") else origin


@contextmanager
def _trouble() -> Iterator[None]:
    """Errors whose exit code would say that there is a difference get that of a wrong command."""
    try:
        yield
    except Exception as error:
        if code_of(error) == NO:
            raise Failure(message_of(error), USAGE) from error
        raise


def _faults(snapshot: Snapshot) -> int:
    return BUS if snapshot.errors else OK


def _change(change: Change) -> dict[str, Any]:
    return {
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "fields": {
            field.name: {"before": int(field.before), "after": int(field.after)}
            for field in change.fields
        },
        "note": change.note or None,
    }


def _data(done: Restored) -> dict[str, Any]:
    return {
        "dry_run": done.dry_run,
        "written": [
            {"path": path, "before": write.before, "value": write.value, "mask": write.mask}
            for path, write in done.written.items()
        ],
        "same": done.same,
        "left": done.left,
        "differs": [
            {"path": path, "wanted": wanted, "read": read}
            for path, (wanted, read) in done.differs.items()
        ],
        "errors": done.errors,
    }
