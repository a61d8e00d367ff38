"""Which device a command is about: a source and its map, or a device of a board map."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from .. import _devregs
from .._board import named
from .._devregs import Device, DevregsError, Map, MapError, SourceError
from .._text import clean
from .options import NO, SOURCE, USAGE, Failure, code_of, message_of


class Bench:
    """Opens the devices that a command needs, each once, and closes them at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        if options.board is not None and options.map is not None:
            raise Failure("--board names the map of each device: --map has no place beside it")
        self._options = options
        self._board = None if options.board is None else load_board(options.board)
        self._open: dict[str, Device] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def words(self, words: list[str]) -> list[tuple[str, str]]:
        """What each word means: the name of a source or device, and a path in it, or no path.

        Without a board, the first word is the source. With one, the first may be a device alone,
        or each begins with its device.
        """
        if self._board is None:
            return [(words[0], path) for path in words[1:]] or [(words[0], "")]
        if words and words[0] in self._board:
            return [(words[0], path) for path in words[1:]] or [(words[0], "")]
        if not words:
            return [(name, "") for name in self._board]
        pairs = [word.partition(".") for word in words]
        return [(name, path) for name, _, path in pairs]

    def label(self, name: str, path: str) -> str:
        """A path as it is shown: with its device in front where there may be several."""
        return path if self._board is None else f"{name}.{path}"

    def device(self, name: str) -> Device:
        """The open device of a source or of the board."""
        if name not in self._open:
            device_map, source = self.find(name)
            self._open[name] = self._stack.enter_context(self._opened(name, device_map, source))
        return self._open[name]

    def find(self, name: str) -> tuple[Map, str]:
        """The map and the source that a name stands for."""
        if self._board is None:
            found = find_map(self._options, name)
            return found, parse(name)[0]
        entry = self._board.get(name)
        if entry is None:
            raise Failure(
                f"{clean(self._options.board)} has no device {clean(name)!r}"
                f"{near(name, list(self._board))}"
            )
        return entry["map"], entry["source"]

    def _opened(self, name: str, device_map: Map, source: str) -> Device:
        options = self._options
        try:
            return _devregs.open(
                device_map,
                source,
                verify=options.verify,
                shared=options.shared,
                root=options.root,
            )
        except DevregsError as error:
            if self._board is not None:
                error = named(error, f"device {clean(name)}")
            # What is an argument in Python is a flag here.
            text = message_of(error).replace("verify=False", "--no-verify")
            raise Failure(text, code_of(error)) from error


def load_map(name: str) -> Map:
    """A map by name or file.

    One that is not there is a wrong command line; one with errors is an answer.
    """
    try:
        return _devregs.load(name)
    except MapError as error:
        raise _failed(name, error) from error


def load_board(path: str) -> dict[str, dict[str, Any]]:
    """A board map."""
    try:
        return _devregs.load_board(path)
    except MapError as error:
        raise _failed(path, error) from error


def find_map(options: argparse.Namespace, source: str) -> Map:
    """The map given for a source, or the best one of the library that fits it."""
    if options.map is not None:
        return load_map(options.map)
    shown, kind = clean(source), source.partition(":")[0]
    if kind in ("mem", "ram", "file", "mock"):
        raise Failure(f"{shown} does not tell what it is: give its map, by name or file: --map MAP")
    if kind == "replay":
        return load_map(_recorded_map(str(parse(source)[1])))
    if kind not in ("uio", "pci"):
        forms = (
            "uio:NAME, uio:NUMBER, pci:ADDRESS, pci:VENDOR:DEVICE, mem:0xADDRESS, file:PATH, "
            "replay:PATH, mock:"
        )
        raise Failure(f"{shown!r} is no source; one is {forms}")
    source = parse(source)[0]
    found = _devregs.scan(options.root)
    fitting = matching(found, source)
    if not fitting:
        there = ", ".join(entry["source"] for entry in found if entry["source"].startswith(kind))
        raise Failure(f"{shown}: no such device; there is {there or 'none of this kind'}", SOURCE)
    for entry in fitting:
        if entry["fits"]:
            return load_map(entry["fits"][0])
    known = ", ".join(clean(text) for text in fitting[0]["compatible"])
    raise Failure(f"{shown}: no map of the library fits it ({known}); give one: --map MAP")


def _recorded_map(path: str) -> str:
    """The name of the map that a recording was made with, by its first line."""
    import json

    try:
        with Path(path).open(encoding="utf-8") as file:
            head = json.loads(file.readline(1 << 20))
        name = head["map"]
    except OSError as error:
        raise Failure(f"{clean(path)}: {error.strerror}", SOURCE) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{clean(path)}: is no recording of a trace", SOURCE) from error
    if name not in _devregs.builtin_maps():
        raise Failure(
            f"{clean(path)}: is of {clean(str(name))!r}, which is no map of the library; "
            f"give its map: --map MAP"
        )
    return str(name)


def parse(source: str) -> tuple[str, int | str | None]:
    """A source as it is printed, and its place: a number, address, name or path; None of others."""
    try:
        return _devregs._source(source)
    except SourceError as error:
        raise Failure(message_of(error)) from error


def matching(found: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """What `scan` found that a source may mean; as it is printed."""
    return [entry for entry in found if source in entry["names"]]


def near(word: str, known: list[str]) -> str:
    """The end of a message: which known word may have been meant, or which there are."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there is {', '.join(known)}" if known else "; there is none"


def _failed(name: str, error: MapError) -> Failure:
    text = message_of(error)
    if not Path(name).is_file():
        return Failure(text, USAGE)
    return Failure(f"{clean(name)} cannot be used\n{text}" if "\n" in text else text, NO)
