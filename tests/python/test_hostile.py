"""Maps, files and sources that are broken, huge or meant to harm.

Each is accepted or refused with an error of the library, soon; nothing hangs, nothing is printed
that a terminal would act on, and no panic of the core ever crosses into Python.
"""

from __future__ import annotations

import keyword
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs
import pytest

HEAD = '[device]\nname = "x"\n[regions.r]\n'
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a map of one region with this in it."""

    def written(body: str, size: str = "0x1000", name: str = "x.toml") -> Path:
        path = tmp_path / name
        path.write_text(f"{HEAD}size = {size}\n{body}", encoding="utf-8")
        return path

    return written


def refused(action: Callable[[], Any], *kinds: type[BaseException]) -> str:
    """The text of the error, which is one of these kinds (MapError if none is given) and no panic."""
    with pytest.raises(kinds or devregs.MapError) as caught:
        action()
    shown = f"{caught.value}\n{caught.value!r}"
    assert_clean(str(caught.value))
    assert "panic" not in shown.lower()
    return shown


def assert_clean(text: str) -> None:
    """Nothing in it makes a terminal do more than print."""
    assert all(c == "\n" or c.isprintable() for c in text), ascii(text)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line, with its output."""
    return subprocess.run(
        [sys.executable, "-m", "devregs", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


# Huge maps and arrays


def test_a_hundred_thousand_registers(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    body = "".join(
        f"registers.R{n} = {{ offset = {n * 4}, fields.F = 0 }}\n" for n in range(100_000)
    )
    path = write(body, "0x10_0000")
    start = time.perf_counter()
    loaded = devregs.load(path)
    read = time.perf_counter()
    with devregs.mock(loaded) as dev:
        opened = time.perf_counter()
        assert dev["R99999.F"] == dev.R99999.F == 0
        assert sum(1 for _ in dev.registers()) == 100_000
        assert len(repr(dev)) < 1000
        refused(lambda: dev["R100000"])
    used = time.perf_counter()
    with capsys.disabled():
        print(
            f"\n100,000 registers: load {read - start:.1f} s, open {opened - read:.1f} s, use {used - opened:.1f} s"
        )
    # What this catches takes minutes; machines are slow and busy.
    assert read - start < 30
    assert used - read < 60


# In 4 bytes each, no more than the smallest address spaces hold: of 64-bit machines, and of 32-bit ones.
COUNTS = [1 << 31, 1 << 34] if sys.maxsize > 1 << 32 else [1 << 28]


@pytest.mark.parametrize("count", COUNTS)
def test_an_array_without_end_costs_nothing(write: Write, count: int) -> None:
    path = write(f"registers.A = {{ offset = 0, count = {count}, fields.F = 0 }}\n", f"{count * 4}")
    start = time.perf_counter()
    with devregs.mock(path) as dev:
        assert len(dev.A) == count
        for index in (0, 1, count - 1, -1, -count):
            dev.A[index].F = 1
            assert dev.A[index].F == 1
        assert dev[f"A[{count - 1}].F"] == 1
        for index in (count, -count - 1, 1 << 63, -(1 << 63), 1 << 64, -(1 << 64)):
            refused(lambda index=index: dev.A[index], IndexError)
            refused(lambda index=index: dev[f"A[{index}]"], IndexError, devregs.MapError)
        assert [reg.path for reg in dev.A[-2:]] == [f"A[{count - 2}]", f"A[{count - 1}]"]
        assert f"0..{count - 1}" in repr(dev.A)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("count", COUNTS)
def test_an_array_without_end_is_walked_as_far_as_asked(write: Write, count: int) -> None:
    path = write(f"registers.A = {{ offset = 0, count = {count}, fields.F = 0 }}\n", f"{count * 4}")
    # In a process of its own, with a limit: one that walked it all would take the machine's memory, or days.
    script = f"""
import resource, devregs
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
with devregs.mock({str(path)!r}) as dev:
    registers = dev.registers()
    print([next(registers).path for _ in range(3)])
    with dev.regions.r.view() as view:
        print(view.nbytes)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split("\n")[:2] == ["['A[0]', 'A[1]', 'A[2]']", f"{count * 4}"], done.stderr


@pytest.mark.parametrize(
    "array", ["count = '0x8000_0000_0000_0000', stride = 4", "count = '0xffff_ffff_ffff_ffff'"]
)
def test_an_array_beyond_64_bits_is_refused(write: Write, array: str) -> None:
    refused(
        lambda: devregs.mock(
            write(f"registers.A = {{ offset = 0, {array} }}", "'0xffff_ffff_ffff_fffc'")
        )
    )


def test_the_largest_region_there_is_does_not_fit_a_machine(write: Write) -> None:
    body = "registers.A = { offset = 0, count = '0x7fff_ffff_ffff_ffff', stride = 1, width = 8 }\n"
    path = write(body, "'0xffff_ffff_ffff_fffc'")
    devregs.load(path)
    refused(lambda: devregs.mock(path), devregs.SourceError)
    file = path.with_name("small.bin")
    file.write_bytes(bytes(64))
    refused(lambda: devregs.open(path, f"file:{file}"), devregs.SourceError)
    refused(lambda: devregs.open(path, "mem:0xffff_ffff_ffff_fff0"), devregs.SourceError)


def test_a_mock_does_not_take_the_memory_of_the_machine(write: Write) -> None:
    # Half a gigabyte: more than a mock may take, and no harm where one takes it.
    array = "count = 0x2_0000, stride = 0x1000, reset = 1"
    path = write(f"registers.A = {{ offset = 0, {array} }}", "0x2000_0000")
    assert "reset values" in refused(lambda: devregs.mock(path), devregs.SourceError)


def test_groups_and_tables_in_each_other_end(write: Write) -> None:
    for depth in (33, 200, 50_000):
        path = "groups.G." * depth
        refused(lambda path=path: devregs.load(write(f"{path}registers.A = {{ offset = 0 }}")))
    for text in ("[" * 100_000, "{a=" * 100_000, "a." * 100_000):
        refused(lambda text=text: devregs.load(write(f"x = {text}")))


# Numbers

NUMBERS = [-1, -(1 << 63), -(1 << 64), 1 << 63, 1 << 64, 1 << 128, int("9" * 4000)]
KEYS = [
    "offset",
    "count",
    "stride",
    "width",
    "reset",
    "reset-mask",
    "expect",
    "fifo",
    "fields.F",
    "fields.F.bits",
]


@pytest.mark.parametrize(
    "number", NUMBERS, ids=lambda number: f"{number:.0e}" if number < 1 << 200 else "large"
)
def test_a_number_that_does_not_fit_is_an_error_everywhere(write: Write, number: int) -> None:
    for key in KEYS:
        for text in (f"{number}", f"'{number}'"):
            # The one that can be written as a string is a number of 64 bits.
            if number == 1 << 63 and text[0] == "'" and key in ("reset", "expect", "fifo"):
                continue
            base = "" if key in ("offset", "fields.F") else "offset = 0\n"
            refused(
                lambda text=text, base=base, key=key: devregs.load(
                    write(f"[regions.r.registers.A]\n{base}{key} = {text}\n")
                )
            )
        refused(lambda key=key: devregs.load(write("", f"{number}")))


def test_numbers_given_to_calls_are_checked_too(write: Write) -> None:
    with devregs.mock(write("registers.A = { offset = 0, fields.F = '7:0' }")) as dev:
        region = dev.regions.r
        kinds = (devregs.MapError, TypeError, OverflowError)
        for number in (*NUMBERS, 1 << 32, None, "1", 1.5, b"\1"):
            refused(lambda n=number: dev.A.write(n), *kinds)
            refused(lambda n=number: setattr(dev.A, "F", n), *kinds)
            refused(lambda n=number: dev.A.modify(F=n), *kinds)
            refused(lambda n=number: dev.A.decode(n), *kinds)
            refused(lambda n=number: region.write(0, n), *kinds)
            refused(lambda n=number: region.read(n), *kinds)
            refused(lambda n=number: region.read(0, width="8" if n is None else n), *kinds)
            refused(lambda n=number: region.view(offset="8" if n is None else n), *kinds)
            refused(
                lambda n=number: region.read_into(bytearray(4), "8" if n is None else n), *kinds
            )
        for seconds in (-1.0, float("nan"), "1"):
            refused(lambda s=seconds: dev.A.wait(F=1, timeout=s), *kinds)
        assert dev.A.read() == 0


# Names

NASTY = [
    "\x1b[31m",
    "\0",
    "a\nb",
    "\r",
    "\x9b31m",
    "\u202e",
    "\u200f",
    "\u061c",
    "\ufeff",
    "\u2028",
    "\U000e0041",
]


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_what_a_terminal_acts_on_is_no_name_and_is_never_printed(
    write: Write, tmp_path: Path, name: str
) -> None:
    spelled = "".join(f"\\U{ord(c):08x}" for c in name)
    for body in (
        f'registers."{spelled}" = {{ offset = 0 }}',
        f'registers.A = {{ offset = 0, fields."{spelled}" = 0 }}',
        f'registers.A = {{ offset = 0, fields.F = {{ bits = 0, values."{spelled}" = 0 }} }}',
        f'groups."{spelled}" = {{ offset = 0, registers.A = {{ offset = 0 }} }}',
        f'registers.A = {{ offset = 0, access = "{spelled}", derive-from = "{spelled}" }}',
        f'"{spelled}" = 1',
        f"registers.A.offset = {name}",
        f'[regions."{spelled}"]\nsize = 4',
    ):
        path = write(body)
        refused(lambda path=path: devregs.load(path))
        shown = command("check", path)
        assert shown.returncode == 1
        assert_clean(shown.stdout + shown.stderr)
    refused(lambda: devregs.load(name))
    refused(lambda: devregs.open("pl061", name), devregs.SourceError, ValueError)
    refused(
        lambda: devregs.open("pl061", f"uio:{name}", root=tmp_path), devregs.SourceError, ValueError
    )


def test_texts_of_a_map_are_printed_without_what_a_terminal_acts_on(write: Write) -> None:
    text = "".join(f"\\U{ord(c):08x}" for c in "a\x1b]0;owned\x07\x9b31m\u202eb\0c\r\x08")
    path = write(
        f'doc = "{text}"\nuio-map = "{text}"\n'
        f'[regions.r.registers.A]\noffset = 0\ndoc = "{text}"\n'
        f'fields.F = {{ bits = 0, doc = "{text}", values.V = {{ value = 0, doc = "{text}" }} }}\n'
    )
    source = path.read_text(encoding="utf-8")
    path.write_text(
        source.replace(
            'name = "x"',
            f'name = "x"\ntitle = "{text}"\nreference = "{text}"\ncompatible = ["{text}"]',
        ),
        "utf-8",
    )
    with devregs.mock(path) as dev:
        for shown in (
            str(dev.A),
            repr(dev.A),
            repr(dev),
            str(dev),
            repr(type(dev.A).F),
            repr(dev.map),
            repr(dev.regions),
        ):
            assert_clean(shown)
        assert_clean(dev.A._repr_html_())
    refused(lambda: devregs.open(path, "uio:0", root=path.parent), devregs.SourceError)
    for arguments in (
        ["show", path],
        ["show", path, "A"],
        ["show", path, "A.F"],
        ["check", path],
        ["dump", "mock:", "--map", path],
    ):
        done = command(*arguments)
        assert done.returncode in (0, 1), done.stderr
        assert_clean(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr


TAKEN = [
    *keyword.kwlist,
    *keyword.softkwlist,
    "close",
    "regions",
    "registers",
    "map",
    "irq",
    "path",
    "source",
    "name",
    "closed",
]
OWN = [
    "read",
    "write",
    "modify",
    "wait",
    "fields",
    "offset",
    "decode",
    "encode",
    "mro",
    "__class__",
    "__dict__",
    "__slots__",
    "__init__",
    "__del__",
    "__weakref__",
    "self",
    "1st",
    "a-b",
    "é",
    "\ufb01",
    "\u210c",
]


def test_names_that_python_has_already_are_reached_as_strings(write: Write) -> None:
    names = [*TAKEN, *OWN]
    body = "".join(
        f'[regions.r.registers."{name}"]\noffset = {n * 4}\nreset = {n}\n'
        + "".join(f'fields."{other}" = {at}\n' for at, other in enumerate(OWN))
        for n, name in enumerate(names)
    )
    with devregs.mock(write(body)) as dev:
        for number, name in enumerate(names):
            reg = dev[name]
            assert (reg.path, reg.read(), reg.offset) == (name, number, number * 4)
            for at, field in enumerate(OWN):
                assert reg[field] == number >> at & 1
                dev[f"{name}.{field}"] = 1
            assert reg.read() == (1 << len(OWN)) - 1
            assert callable(reg.write)
            str(reg)
        assert not dev.closed
        assert len(dev.regions) == 1
        assert type(dev).__mro__[1] is devregs.Device


def test_any_name_of_a_value_is_a_member_or_an_error(write: Write) -> None:
    names = [
        "name",
        "value",
        "real",
        "to_bytes",
        "None",
        "class",
        "1a",
        "a-b",
        "é",
        "_x",
        "x_",
        "__x",
        "F",
        "\ufb01",
        "fi",
        "_F_x",
    ]
    values = ", ".join(f'"{name}" = {n}' for n, name in enumerate(names))
    with devregs.mock(
        write(
            f"registers.A = {{ offset = 0, fields.F = {{ bits = '7:0', values = {{ {values} }} }} }}"
        )
    ) as dev:
        for number, name in enumerate(names):
            dev.A.F = name
            assert dev.A.F == dev.A.read() == number
            assert type(dev.A).F.values[name] == number
            assert name in str(dev.A)
    for name in ("mro", "_x_", "__x__", "_", "_F__x", ""):
        refused(
            lambda name=name: devregs.load(
                write(
                    f'registers.A = {{ offset = 0, fields.F = {{ bits = 0, values."{name}" = 0 }} }}'
                )
            )
        )
