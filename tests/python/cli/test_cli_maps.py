"""Showing and checking maps, and writing their stubs, from the command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import devregs
import pytest
from devregs.cli import main

TIMER = str(Path(__file__).parent / "timer.toml")

# maps


def test_show(run):
    code, out, _ = run("show", TIMER)
    assert code == 0
    for line in (
        "timer  Four-channel timer",
        "  fits acme,timer-1.0, pci:10ee:7021",
        "regs  rw, 32 bits, 0x200 bytes at 0x0",
    ):
        assert line in out.splitlines()
    assert re.search(r"0x8 +INT +rw +Interrupts that are pending", out)
    assert re.search(r"1 +ERR +1 clears", out)
    assert re.search(r"6:4 +MODE +SLOW=0x0 FAST=0x1 BURST=0x5 +How fast it counts", out)
    assert re.search(r"0x100 +CH\[0\.\.3\] +4 times, 0x20 bytes apart +A channel", out)
    assert re.search(r"\+0x4 +VALUE +ro +0xffffffff", out)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("CTRL", "BURST"),
        ("CTRL.MODE", "MODE  bits 6:4, rw"),
        ("CH", "LOAD"),
        ("CH[3].LOAD", "LOAD  at 0x0 in regs"),
        ("id", "must be 0x71be0001"),
    ],
)
def test_show_a_part(run, path, says):
    code, out, _ = run("show", TIMER, path)
    assert code == 0
    assert says in out
    assert isinstance(json.loads(run("show", "--json", TIMER, path)[1]), dict)


def test_show_as_json_is_the_map(run):
    assert json.loads(run("show", TIMER, "--json")[1]) == json.loads(devregs.load(TIMER).to_json())


RULES = (
    """
[[behaviour]]
doc = "A burst takes 2.5 ms"
on-write = ["CTRL.GO=1", "CTRL.MODE=BURST"]
if = "CTRL.EN and not STATUS.READY"
after = 2.5e-3
set = { "STATUS.READY" = 1, "STATUS.LEVEL" = "written << 1" }
interrupt = true

[[behaviour]]
on-read = "CLR"
after-reads = 1
push = { DATA = 0x41 }
reset = true

[[behaviour]]
every = 1
if = "CTRL.EN"
set = { "CH[*].VALUE" = "CH[*].LOAD - index" }

[[behaviour]]
assign = { "STATUS.LEVEL" = """
    + '"""CH[0].VALUE\n  >> 24""" }'
    + """
interrupt = "INT.DONE or INT.ERR"

[[behaviour]]
every = 1e-6
interrupt = "INT.ERR"
"""
)


def test_show_tells_the_rules_of_behaviour(run, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(Path(TIMER).read_text(encoding="utf-8") + RULES, encoding="utf-8")
    code, out, _ = run("show", str(path))
    assert code == 0
    told = out[out.index("\nbehaviour\n") :].splitlines()[2:]
    assert [re.split("  +", line.strip()) for line in told] == [
        [
            "on write of CTRL.GO=0x1, CTRL.MODE=0x5, if CTRL.EN and not STATUS.READY, after 2500 us",
            "STATUS.READY = 1; STATUS.LEVEL = written << 1; interrupt",
            "A burst takes 2.5 ms",
        ],
        ["on read of CLR, after 1 read", "push 0x41 to DATA; reset"],
        ["every 1 s, if CTRL.EN", "CH[0..3].VALUE = CH[*].LOAD - index"],
        [
            "always",
            "STATUS.LEVEL = CH[0].VALUE >> 24; the interrupt line is INT.DONE or INT.ERR",
        ],
        ["every 1 us", "interrupt if INT.ERR"],
    ]
    data = json.loads(run("show", str(path), "--json")[1])["behaviour"]
    assert [rule["trigger"] for rule in data[2:6]] == [{"every": {"secs": 1, "nanos": 0}}] * 4
    # What is set from time to time and assigned as well is told.
    code, out, _ = run("check", str(path))
    assert code == 0
    assert "STATUS.LEVEL is assigned in" in out
    path.write_text(path.read_text(encoding="utf-8").replace("CTRL.GO=1", "CTRL.G0=1"))
    code, out, _ = run("check", str(path))
    assert code == 1
    assert 'CTRL: has no field "G0"' in out
    assert 'did you mean "GO"?' in out


@pytest.mark.parametrize("path", ["CTRK", "CTRL.MODEX", "CTRL.MODE.X", "CH[4]", "CTRL[0]", "[", ""])
def test_show_of_what_is_not_there(run, path):
    code, out, err = run("show", TIMER, path)
    assert (code, out) == (2, "")
    assert err.startswith("devregs: error: ")


def test_maps_lists_the_library(run):
    code, out, _ = run("maps")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == devregs.builtin_maps()
    assert [
        entry["name"] for entry in json.loads(run("maps", "--json")[1])
    ] == devregs.builtin_maps()


BAD = """\
[device]
name = "bad"
widht = 32
[regions.regs]
size = 0x10
access = "rx"
"""


def test_check_prints_all_mistakes(run, tmp_path, monkeypatch, board):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text(BAD)
    code, out, _ = run("check", TIMER, "bad.toml", board)
    assert code == 1
    assert 'bad.toml:3:1: error: [device] has no key "widht"\n 3 | widht = 32\n   | ^^^^^\n' in out
    assert "bad.toml:6:10: error: " in out
    assert "bad.toml: 2 errors\n" in out
    assert f"{TIMER}: ok: 3 regions, 32 registers\n" in out
    assert f"{board}: ok: 2 devices\n" in out


def test_check_as_json(run, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(BAD)
    code, out, _ = run("check", "--json", str(bad), TIMER)
    assert code == 1
    wrong, good = json.loads(out)
    assert (wrong["kind"], wrong["ok"], good["ok"], good["diagnostics"]) == (
        "device",
        False,
        True,
        [],
    )
    first = wrong["diagnostics"][0]
    assert (first["line"], first["column"], first["severity"]) == (3, 1, "error")
    assert first["message"] == '[device] has no key "widht"'
    assert first["help"] == 'did you mean "width"?'
    assert first["file"] == str(bad)


def test_check_of_warnings(run, tmp_path):
    path = tmp_path / "warn.toml"
    path.write_text(
        '[device]\nname = "w"\n[regions.regs]\nsize = 4\nregisters.class = { offset = 0 }\n'
    )
    code, out, _ = run("check", str(path))
    assert code == 0
    assert "warning: class is a keyword of Python" in out
    assert "ok: 1 region, 1 register, 1 warning" in out
    assert run("check", "--strict", str(path))[0] == 1


def test_check_of_what_is_no_map(run, tmp_path):
    for content in (b"[devices", b"\xff\xfe", b"", b"[" * 5000):
        path = tmp_path / "no.toml"
        path.write_bytes(content)
        code, out, err = run("check", str(path))
        assert (code, err) == (1, "")
        assert "no.toml: 1 error" in out
    assert run("check", str(tmp_path / "missing.toml"))[0] == 1


def test_stubs_are_python_and_know_the_names(run, tmp_path):
    target = tmp_path / "timer_types.pyi"
    assert run("stubs", TIMER, "-o", str(target))[0] == 0
    text = target.read_text()
    compile(text, str(target), "exec")
    assert run("stubs", TIMER)[1] == text
    assert "class Timer(devregs.Device):" in text
    assert "    CH: Elements[_CH]" in text
    assert 'def MODE(self, value: int | Literal["SLOW", "FAST", "BURST"]) -> None: ...' in text
    assert "@READY.setter" not in text
    assert "def GO(self) -> Never:" in text


SCRIPT = """\
from typing import TYPE_CHECKING, cast
import devregs
if TYPE_CHECKING:
    from timer_types import Timer
timer = cast("Timer", devregs.mock("timer.toml"))
timer.CTRL.modify(EN=1, MODE="FAST")
timer.CH[2].TRIM[1].write(3)
timer.CTRL.MODE = "FASST"
timer.STATUS.READY = 1
timer.CTRK
"""


def test_a_type_checker_reads_the_stub(run, tmp_path):
    pytest.importorskip("mypy")
    run("stubs", TIMER, "-o", str(tmp_path / "timer_types.pyi"))
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith(("script", "timer"))]
    assert [re.sub(r":(\d+): .*", r":\1", line) for line in told] == [
        "script.py:8",
        "script.py:9",
        "script.py:10",
    ]
    assert "Literal['FASST']" in told[0]
    assert "read-only" in told[1]
    assert 'no attribute "CTRK"' in told[2]


# the page about it

PAGE_FILE = Path(__file__).parents[3] / "docs/command-line.md"


def test_the_examples_of_the_page(capsys, tmp_path, monkeypatch):
    """Every `$ devregs` of the page prints what the page says."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```(\w+)(?: (\S+))?\n(.*?)^```$", PAGE_FILE.read_text(), re.MULTILINE | re.DOTALL
    )
    ran = 0
    for language, name, text in blocks:
        if language == "toml" and name:
            Path(name).write_text(text)
        if language != "console":
            continue
        for command, wanted in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            words = shlex.split(command)
            assert words[0] == "devregs"
            main(words[1:])
            out, err = capsys.readouterr()
            assert out + err == wanted, command
            ran += 1
    assert ran >= 10
