"""What scan, doctor, repr and errors print can be typed back, and opens the same device."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import devregs
import pytest
from devregs.cli import main
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import MEMORY, PAGE, Pci, Uio

MAP = '[device]\nname = "x"\n[regions.r]\nsize = 0x10\nregisters.ID = { offset = 0 }\n'

# A source in a text: it has no space in it, and what follows it is no part of it.
SOURCE = re.compile(r"\b(?:uio|pci|mem|ram|file):[^\s;()]+")

FUNCTIONS = st.builds(
    "{:04x}:{:02x}:{:02x}.{}".format,
    st.one_of(st.integers(0, 0xFFFF), st.integers(0x1_0000, 0xFFFF_FFFF), st.just(0)),
    st.integers(0, 0xFF),
    st.integers(0, 31),
    st.integers(0, 7),
)

# Names as drivers give them, and others that look like something else. sysfs ends a name at a line's end.
NAMES = st.one_of(
    st.sampled_from(
        ["gpio", "gpio", "uio0", "/dev/uio1", "0", "3", "03", "a b", "a+b", "%41", "10%"]
    ),
    st.sampled_from(
        ["gpio@0x1000", "a@b@0x10", "@0x1000", "0000:01:00.0", "01:00.0", "größe", "it's"]
    ),
    FUNCTIONS,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
)

SYSTEMS = st.fixed_dictionaries(
    {
        "uio": st.dictionaries(
            st.integers(0, 12),
            st.tuples(NAMES, st.sampled_from([0x1000, 0x2000, 0xA000_0000, 2**64 - 1])),
            max_size=5,
        ),
        "pci": st.dictionaries(FUNCTIONS, st.sampled_from([0x7021, 0x7022]), max_size=3),
        "on cards": st.booleans(),
    }
)


@contextmanager
def made(system: dict[str, Any]) -> Iterator[tuple[Path, Path]]:
    """A pretended system, each of whose devices holds a number of its own; and a map."""
    with TemporaryDirectory() as folder:
        root, path = Path(folder, "root"), Path(folder, "x.toml")
        path.write_text(MAP)
        pci, uio = Pci(root), Uio(root)
        cards = []
        for index, (address, device) in enumerate(system["pci"].items()):
            start = 0xE000_0000 + PAGE * index
            cards.append(pci.add(address, (0x10EE, device), [(start, PAGE, MEMORY)]))
            (cards[-1] / "resource0").write_bytes(
                (0x100 + index).to_bytes(4, "little") + bytes(PAGE - 4)
            )
        for number, (name, address) in system["uio"].items():
            card = cards.pop() if cards and system["on cards"] else None
            node = uio.add(number, name, [{"addr": address, "size": PAGE}], card)
            node.write_bytes(number.to_bytes(4, "little") + bytes(2 * PAGE))
        yield root, path


def identity(path: Path, source: str, root: Path) -> int:
    """The number of the device that a source opens."""
    with devregs.open(path, source, root=root) as device:
        assert device.source in repr(device)
        # What it calls itself is the same again.
        with devregs.open(path, device.source, root=root) as again:
            assert again.source == device.source
            assert again.ID.read() == device.ID.read()
        return int(device.ID.read())


@settings(deadline=None, max_examples=60)
@given(SYSTEMS)
def test_what_scan_prints_opens_the_same_device(system: dict[str, Any]) -> None:
    with made(system) as (root, path):
        found = devregs.scan(root)
        assert len(found) == len(system["uio"]) + len(system["pci"])
        numbers = [identity(path, entry["source"], root) for entry in found]
        assert len(set(numbers)) == len(found)
        for entry, number in zip(found, numbers, strict=True):
            # Goes through a shell as it stands.
            assert shlex.split(entry["source"]) == [entry["source"]]
            for name in entry["names"]:
                meant = [other["source"] for other in found if name in other["names"]]
                if meant == [entry["source"]]:
                    assert identity(path, name, root) == number
                else:
                    # Never silently the first of several; and the error tells each by a name of its own.
                    with pytest.raises(devregs.SourceError, match="several") as raised:
                        devregs.open(path, name, root=root)
                    assert SOURCE.findall(str(raised.value.remedy)) == meant


@settings(deadline=None, max_examples=40)
@given(SYSTEMS)
def test_what_an_error_lists_opens(system: dict[str, Any]) -> None:
    with made(system) as (root, path):
        found = [entry["source"] for entry in devregs.scan(root)]
        for source in ("uio:nowhere", "pci:ffff:ffff"):
            with pytest.raises(devregs.SourceError) as raised:
                devregs.open(path, source, root=root)
            assert raised.value.source == source
            listed = SOURCE.findall(str(raised.value.remedy))
            there = [other for other in found if other.startswith(source[:4])]
            assert [other for other in listed if other in there] == there


def test_what_the_commands_print_opens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [
        "a b",
        "3",
        "gpio",
        "gpio",
        "100%",
        "c++",
        "größe",
        "\x1b[31m",
        "0000:00:05.0",
        "a@0x10",
    ]
    devices = {index: (name, 0x1000 * (index + 1)) for index, name in enumerate(names)}
    with made({"uio": devices, "pci": {"10000:e1:00.0": 0x7021}, "on cards": False}) as (
        root,
        path,
    ):
        at = ["--root", str(root), "--map", str(path)]
        assert main(["scan", "--root", str(root)]) == 0
        rows = capsys.readouterr().out.splitlines()[1:]
        sources = [row.split()[0] for row in rows]
        assert len(sources) == len(names) + 1
        assert "pci:10000:e1:00.0" in sources
        for index, source in enumerate(sources[:-1]):
            assert main(["read", *at, "--quiet", source, "ID"]) == 0
            assert capsys.readouterr().out == f"{index:#x}\n"
            assert main(["doctor", *at, source]) == 0
            assert source in capsys.readouterr().out
        # An address in a finding is one that mem: takes, and the device there is named.
        assert main(["doctor", *at, "mem:0x3000"]) == 1
        assert f"better open {sources[2]}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "readings"),
    [
        ("mem:41200000", ["mem:0x41200000", "mem:0x274a980"]),
        ("mem:0900_0000", ["mem:0x9000000", "mem:0x895440"]),
        ("mem:fe000000", ["mem:0xfe000000"]),
        ("mem:9", ["mem:0x9"]),
        ("ram:80000000", ["ram:0x80000000", "ram:0x4c4b400"]),
        ("mem:18446744073709551615", ["mem:0xffffffffffffffff"]),
    ],
)
def test_digits_alone_are_no_address(source: str, readings: list[str], tmp_path: Path) -> None:
    (path := tmp_path / "x.toml").write_text(MAP)
    with pytest.raises(devregs.SourceError, match="begins with 0x") as raised:
        devregs.open(path, source, root=tmp_path)
    assert [text.rstrip(",") for text in SOURCE.findall(str(raised.value.problem))] == readings
    # A board's sources, too.
    (board := tmp_path / "board.toml").write_text(
        f'[devices.x]\nmap = "x.toml"\nsource = "{source}"\n'
    )
    with pytest.raises(devregs.MapError, match="begins with 0x"):
        devregs.load_board(board)
    assert main(["read", "--map", str(path), source, "ID"]) == 2


def test_files_of_any_name(tmp_path: Path) -> None:
    (path := tmp_path / "x.toml").write_text(MAP)
    for name in (
        "a+b",
        "100%",
        "%41",
        "a b",
        "it's",
        "größe",
        b"\xff\xfe.bin".decode("utf-8", "surrogateescape"),
    ):
        (file := tmp_path / name).write_bytes(bytes(16))
        with devregs.open(path, file) as device:
            device.ID.write(7)
            source = device.source
        assert identity(path, source, tmp_path) == 7
        file.unlink()
    with pytest.raises(devregs.SourceError, match="lone surrogates"):
        devregs.open(path, "file:\ud800")
