"""Snapshots from the command line: taken, compared, written back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import devregs
import pytest
from devregs import _devregs

TIMER = str(Path(__file__).parent / "timer.toml")


@pytest.fixture
def before(run, memory, tmp_path):
    """The file of a snapshot of the timer in `memory`."""
    file = str(tmp_path / "before.json")
    code, out, err = run("snapshot", "--map", TIMER, f"file:{memory}", "-o", file)
    assert (code, out) == (0, "")
    assert err == f"devregs: wrote {file}: 29 registers, 3 not read\n"
    return file


@pytest.fixture
def change(memory):
    """Writes a byte of the memory."""

    def change(offset: int, value: int) -> None:
        with memory.open("r+b") as file:
            file.seek(offset)
            file.write(bytes([value]))

    return change


def test_a_snapshot_is_printed_like_a_dump(on):
    code, out, err = on("snapshot", "CTRL", "CH[1]", "KICK")
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.startswith("timer at mock:, 20")
    assert lines == [
        "+0x0    CTRL              0x00000010  EN=0 MODE=FAST",
        "+0x10   KICK              -           write-only",
        "+0x120  CH[1].LOAD        0x00000000",
        "+0x124  CH[1].VALUE       0xffffffff",
        "+0x128  CH[1].TRIM[0..3]  0x00",
    ]


def test_what_json_prints_is_the_file(run, on, tmp_path):
    file = tmp_path / "one.json"
    code, out, _ = on("snapshot", "--json", "CTRL", "-o", str(file))
    assert code == 0
    assert file.read_text() == out
    assert json.loads(out)["registers"]["CTRL"]["value"] == "0x00000010"
    assert devregs.Snapshot.load(file)["CTRL.MODE"].name == "FAST"


def test_a_fault_is_told_by_the_exit_code(run, before, memory, tmp_path, monkeypatch):
    """The file is cut while the device is open."""
    real, content = _devregs.open, memory.read_bytes()

    def cut(*args, **options):
        memory.write_bytes(content)
        device = real(*args, **options)
        os.truncate(memory, 0x1000)
        return device

    monkeypatch.setattr(_devregs, "open", cut)
    source, file = f"file:{memory}", str(tmp_path / "one.json")
    assert run("snapshot", "--map", TIMER, source, "CTRL")[0] == 0
    assert run("snapshot", "--map", TIMER, source, "-o", file)[0] == 4
    assert "bus error: timer.ID" in devregs.Snapshot.load(file).errors["ID"]
    code, out, _ = run("diff", before, source)
    assert code == 4
    assert out.startswith("ID  0x71be0001 -> -  bus error: timer.ID")


def test_the_same_is_zero_and_different_is_one(run, before, memory, change):
    source = f"file:{memory}"
    assert run("diff", before, source) == (0, "", "")
    change(0, 0x51)
    change(0x121, 1)
    code, out, err = run("diff", before, source)
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "CTRL        0x0 -> 0x51   EN 0 -> 1, MODE SLOW -> BURST",
        "CH[1].LOAD  0x0 -> 0x100",
    ]
    # The other way round, and both of them files or sources.
    assert "0x51 -> 0x0" in run("diff", source, before)[1]
    assert run("diff", before, before) == (0, "", "")
    assert run("diff", "--map", TIMER, source, source) == (0, "", "")


def test_what_is_ignored_does_not_count(run, before, memory, change):
    change(0, 0x51)
    argv = ("diff", before, f"file:{memory}", "--ignore")
    assert run(*argv, "CTRL") == (0, "", "")
    assert run(*argv, "C*") == (0, "", "")
    assert run(*argv, "CTRL.EN", "--ignore", "CTRL.MODE") == (0, "", "")
    code, _, err = run(*argv, "CTRLL")
    assert code == 2
    assert "did you mean CTRL" in err


def test_a_part_is_compared_with_that_part(run, memory, change, tmp_path):
    file = str(tmp_path / "part.json")
    run("snapshot", "--map", TIMER, f"file:{memory}", "CH[1]", "-o", file)
    change(0, 1)
    assert run("diff", file, f"file:{memory}") == (0, "", "")
    change(0x120, 1)
    assert run("diff", file, f"file:{memory}")[:2] == (1, "CH[1].LOAD  0x0 -> 0x1\n")


def test_a_diff_as_json(run, before, memory, change):
    change(0, 0x50)
    code, out, _ = run("diff", "--json", before, f"file:{memory}")
    assert code == 1
    assert json.loads(out) == [
        {
            "path": "CTRL",
            "before": 0,
            "after": 0x50,
            "fields": {"MODE": {"before": 0, "after": 5}},
            "note": None,
        }
    ]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("gone.json", 2, "gone.json is neither a file nor a source"),
        ("usb:1", 2, "usb:1"),
        ("uio:nothing", 3, "no such device"),
        (TIMER, 2, "this is no JSON"),
        ("mock:", 1, ""),
    ],
)
def test_trouble_is_neither_zero_nor_one(run, before, name, code, message):
    got, _, err = run("diff", before, name)
    assert got == code
    assert message in err


def test_a_file_that_cannot_be_read_is_trouble(run, before, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    code, _, err = run("diff", before, before)
    assert code == 2
    assert "Permission denied" in err


def test_boards(run, board, memory, tmp_path):
    file = str(tmp_path / "spare.json")
    assert run("--board", board, "snapshot", "spare", "CTRL", "-o", file)[0] == 0
    code, out, _ = run("--board", board, "diff", "spare", "timer", "--ignore", "CH")
    assert (code, out) == (1, "CTRL  0x0 -> 0x10  MODE SLOW -> FAST\n")
    code, out, _ = run("--board", board, "diff", file, "timer")
    assert (code, out) == (1, "CTRL  0x0 -> 0x10  MODE SLOW -> FAST\n")
    memory.write_bytes(b"\x11" + memory.read_bytes()[1:])
    assert run("--board", board, "restore", "spare", file)[0] == 0
    assert memory.read_bytes()[0] == 0
    assert run("--board", board, "snapshot", "nothere")[0] == 2


def test_restore_writes_back(run, before, memory, change):
    source = f"file:{memory}"
    change(0, 0x51)
    change(0x120, 1)
    dry = run("restore", source, before, "--dry-run")
    assert memory.read_bytes()[0] == 0x51
    assert dry[0] == 0
    assert dry[1].startswith("2 would be written")
    code, out, err = run("restore", source, before, "CTRL")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "1 written, 0 the same",
        "CTRL  0x51 -> 0x0  EN 1 -> 0, MODE BURST -> SLOW",
    ]
    assert (memory.read_bytes()[0], memory.read_bytes()[0x120]) == (0, 1)
    code, out, _ = run("restore", "--json", source, before)
    assert code == 0
    data = json.loads(out)
    assert data["written"] == [{"path": "CH[1].LOAD", "before": 1, "value": 0, "mask": 0xFFFF_FFFF}]
    assert data["left"]["STATUS"] == "read-only"
    assert (data["differs"], data["errors"], data["dry_run"]) == ([], {}, False)
    assert run("diff", before, source) == (0, "", "")


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["mock:", "gone.json"], 2, "gone.json: there is no such file"),
        (["mock:", "BEFORE", "CTRLL"], 2, "did you mean CTRL"),
        (["--map", "pl061", "mock:", "BEFORE"], 2, "a snapshot of timer"),
        (["mock:"], 2, "required"),
        (["uio:nothing", "BEFORE"], 3, "no such device"),
    ],
)
def test_what_cannot_be_restored(run, before, argv, code, message):
    got, out, err = run("restore", *(before if word == "BEFORE" else word for word in argv))
    assert (got, out) == (code, "")
    assert message in err
