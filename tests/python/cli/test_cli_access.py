"""Reading, writing and dumping from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import devregs
import pytest

TIMER = str(Path(__file__).parent / "timer.toml")

# read


def test_read_registers_fields_and_words(on):
    code, out, err = on("read", "CTRL", "CTRL.MODE", "CH[0].VALUE", "regs+0x104:16", "regs+0x104")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "CTRL           0x00000010  16",
        "CTRL.MODE      0x1         1           FAST",
        "CH[0].VALUE    0xffffffff  4294967295",
        "regs+0x104:16  0xffff      65535",
        "regs+0x104     0xffffffff  4294967295",
    ]


def test_read_quietly_for_scripts(on):
    assert on("read", "-q", "CTRL", "CTRL.MODE")[:2] == (0, "0x10\n0x1\n")


def test_read_as_json(on):
    code, out, _ = on("read", "--json", "CTRL", "CTRL.MODE", "id+0x0")
    assert code == 0
    register, field, word = json.loads(out)
    assert set(register) == {"path", "value", "name", "width", "offset", "address", "fields"}
    assert register["value"] == 0x10
    assert register["fields"] == {
        "EN": {"value": 0, "name": None},
        "MODE": {"value": 1, "name": "FAST"},
    }
    assert (field["path"], field["value"], field["name"], field["width"]) == (
        "CTRL.MODE",
        1,
        "FAST",
        3,
    )
    assert (word["value"], word["width"], word["address"]) == (0x71BE0001, 32, None)


class Spy:
    """A register that notes each of its accesses."""

    def __init__(self, register, log):
        self.register, self.log = register, log

    def read(self):
        self.log.append("read")
        return self.register.read()

    def __getattr__(self, name):
        return getattr(self.register, name)


def test_fields_beside_each_other_share_a_read():
    from devregs.cli import paths, read

    log = []
    with devregs.mock(TIMER) as timer:
        spy = Spy(timer.CTRL, log)
        en, mode, _ = timer.CTRL.fields
        wanted = [("a", paths.Named(spy, en)), ("b", paths.Named(spy, mode))]
        read._read(wanted)
        assert log == ["read"]
        read._read([("c", paths.Named(spy, None)), ("d", paths.Named(spy, None))])
        assert log == ["read"] * 3


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("KICK", 1, "write-only"),
        ("CTRL.GO", 1, "write-only"),
        ("CTL", 2, 'did you mean "CTRL"'),
        ("CTRL.MODEX", 2, 'did you mean "MODE"'),
        ("CTRL.MODE.X", 2, "MODE.X"),
        ("CH.LOAD", 2, r"CH is an array of 4: say which one, CH\[0\]"),
        ("CH", 2, r"array of 4"),
        ("CH[4].LOAD", 2, "0 to 3"),
        ("CH[0]", 2, "group"),
        ("CTRL[0]", 2, "CTRL"),
        ("regs+0x200", 2, "regs"),
        ("regs+0x2", 2, "regs"),
        ("regs+0x10:24", 2, "8, 16, 32 or 64"),
        ("regs+zz", 2, "'zz' is no offset"),
        ("regs+260", 2, r"is it regs\+0x260, or regs\+0x104, which is 260 in decimal"),
        ("regs+fc", 2, r"begins with 0x: regs\+0xfc$"),
        ("nothere+0x0", 2, "nothere"),
        ("", 2, "read"),
    ],
)
def test_paths_that_cannot_be_read(on, path, code, message):
    got, out, err = on("read", path)
    assert (got, out) == (code, "")
    assert err.startswith("devregs: error: ")
    assert re.search(message, err)


def test_one_wrong_path_is_refused_before_anything_is_read(on):
    code, out, _ = on("read", "CTRL", "DATA", "KICK")
    assert (code, out) == (1, "")


# write


def test_write_by_number_and_name_in_one_access(on, run, memory):
    source = f"file:{memory}"
    argv = [
        "--map",
        TIMER,
        source,
        "CTRL.EN=1",
        "CTRL.MODE=BURST",
        "CH[1].LOAD=0b1_0000",
        "regs+0x160=7",
    ]
    assert run("write", *argv) == (0, "", "")
    content = memory.read_bytes()
    assert content[0:4] == b"\x51\0\0\0"
    assert content[0x120] == 16
    assert content[0x160] == 7


def test_write_spares_what_acts_when_written(run, memory):
    with memory.open("r+b") as file:
        file.seek(8)
        file.write(b"\x03")
    assert run("write", "--map", TIMER, f"file:{memory}", "INT.MASK=2")[0] == 0
    assert memory.read_bytes()[8:10] == b"\x00\x02"


def test_only_neighbouring_fields_share_a_write(on):
    _, out, _ = on("write", "--json", "CTRL.EN=1", "CTRL.MODE=FAST", "CH[0].LOAD=1", "CTRL.EN=0")
    assert [store["words"] for store in json.loads(out)] == [
        ["CTRL.EN=1", "CTRL.MODE=FAST"],
        ["CH[0].LOAD=1"],
        ["CTRL.EN=0"],
    ]


def test_write_and_verify(on, run, memory):
    assert on("write", "--verify", "CTRL.EN=1", "CTRL.GO=1", "CH[0].LOAD=3") == (0, "", "")
    code, out, err = on("write", "--verify", "--json", "INT.DONE=1", "KICK=0x5a", "regs+0x100=1")
    assert code == 0
    assert [store["verified"] for store in json.loads(out)] == [None, None, None]
    assert err.count("not read back") == 3


def test_verify_says_what_did_not_stay():
    from devregs.cli import paths, write

    with devregs.mock(TIMER) as timer:
        store = write.Store(
            timer, paths.Named(timer["CH[0].LOAD"], None), 5, words=["CH[0].LOAD=5"]
        )
        write._check(store)
        assert write._read_back(store) is False
        write._write(store)
        assert write._read_back(store) is True


@pytest.mark.parametrize(
    ("word", "code", "message"),
    [
        ("CTRL", 2, "PATH=VALUE"),
        ("CTRL=", 2, "PATH=VALUE"),
        ("=1", 2, "PATH=VALUE"),
        ("CTRL=fast", 2, "'fast' is no number"),
        ("CTRL=010", 2, "no number"),
        ("CTRL=0x1_0000_0000", 2, "does not fit 32 bits"),
        ("CTRL=-1", 2, "does not fit"),
        ("CTRL.MODE=FASST", 2, "none of its values: SLOW, FAST, BURST"),
        ("CTRL.MODE=8", 2, "does not fit 3 bits"),
        ("regs+0x0=0x1_0000_0000", 2, "does not fit 32 bits"),
        ("STATUS=1", 1, "read-only"),
        ("STATUS.READY=1", 1, "read-only"),
        ("id+0x0=1", 1, "read-only"),
    ],
)
def test_writes_that_are_refused(on, word, code, message):
    got, out, err = on("write", word)
    assert (got, out) == (code, "")
    assert message in err


@pytest.mark.parametrize("wrong", ["CTRL.MODE=FASST", "STATUS=1", "CH[0].LOAD=-1", "CTL=1"])
def test_all_is_checked_before_anything_is_written(run, memory, wrong):
    code, _, _ = run("write", "--map", TIMER, f"file:{memory}", "CTRL.EN=1", wrong)
    assert code in (1, 2)
    assert memory.read_bytes()[0] == 0


def test_writes_that_keep_others_out(run, memory):
    argv = ("--map", TIMER, f"file:{memory}", "CTRL.EN=1")
    assert run("write", "--shared", *argv) == (0, "", "")
    assert run("--shared", "write", *argv) == (0, "", "")
    assert memory.read_bytes()[0] == 1


def test_a_field_given_twice(on):
    assert on("write", "CTRL.EN=1", "CTRL.EN=0")[0] == 2


# dump


def test_dump_all(on):
    code, out, _ = on("dump")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "timer at mock:"
    assert lines[1] == "regs+0x0    CTRL              0x00000010          EN=0 MODE=FAST"
    assert "regs+0xc    CLR               -                   not read: reading clears it" in lines
    assert lines[-1] == "id+0x0      ID                0x71be0001"


def test_dump_of_parts(on):
    code, out, _ = on("dump", "CTRL", "CH[2]")
    assert code == 0
    assert out.count("\n") == 5
    assert on("dump", "CTRL")[1].splitlines()[3] == "  0x0000_0010 = 16 = 0b" + "_".join(
        ["0000"] * 6 + ["0001", "0000"]
    )


def test_dump_as_json(on):
    code, out, _ = on("dump", "--json")
    assert code == 0
    [device] = json.loads(out)
    assert set(device) == {"name", "device", "source", "map", "registers"}
    registers = {register["path"]: register for register in device["registers"]}
    assert registers["CTRL"]["fields"]["MODE"] == {"value": 1, "name": "FAST"}
    assert registers["KICK"]["value"] is None
    assert registers["KICK"]["reason"] == "write-only"
    assert registers["DATA"]["region"] == "fifo"
    keys = {"path", "region", "offset", "address", "width", "access", "value", "reason", "fields"}
    assert set(registers["CTRL"]) == keys


def test_a_fault_in_a_dump_is_a_line_and_an_exit_code(tmp_path):
    """In a process of its own: the file is cut while the device is open."""
    script = (
        "import os, sys, devregs\nfrom devregs import _devregs\nfrom devregs.cli import main\n"
        "real = _devregs.open\n"
        "def cut(map, source, **options):\n"
        "    device = real(map, source, **options)\n"
        "    os.truncate(sys.argv[2], 0x1000)\n"
        "    return device\n"
        "_devregs.open = cut\n"
        "map, memory, command, *more = sys.argv[1:]\n"
        "sys.exit(main([command, '--map', map, '--no-verify', 'file:' + memory, *more]))\n"
    )
    for argv in (["dump"], ["read", "ID"]):
        memory = tmp_path / "memory"
        memory.write_bytes(bytes(0x2010))
        command = [sys.executable, "-c", script, TIMER, str(memory), *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 4, done
        assert "timer.ID: the bus answered a 32-bit read" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


# boards


def test_devices_of_a_board(run, board):
    argv = ("--board", board)
    assert run(*argv, "read", "timer.CTRL.MODE", "spare.CTRL")[1].splitlines() == [
        "timer.CTRL.MODE  0x1         1  FAST",
        "spare.CTRL       0x00000000  0",
    ]
    assert run("read", *argv, "timer", "CTRL", "STATUS")[0] == 0
    assert run("write", *argv, "spare.CTRL.EN=1", "timer.CTRL.EN=1")[0] == 0
    assert run(*argv, "read", "-q", "spare.CTRL.EN")[1] == "0x1\n"
    everything = run(*argv, "dump")[1]
    assert "timer: timer at mock:" in everything
    assert "spare: timer at file:" in everything
    assert run(*argv, "doctor", "spare")[0] == 0


def test_errors_with_a_board_name_the_device(run, board, memory):
    memory.write_bytes(bytes(0x2010))
    code, _, err = run("--board", board, "read", "spare.CTRL")
    assert code == 3
    assert "device spare: " in err
    assert "ID is 0x0, not 0x71be0001" in err
    assert "--no-verify" in err
    assert run("--board", board, "--no-verify", "read", "spare.CTRL")[0] == 0
    memory.unlink()
    assert "device spare: " in run("--board", board, "read", "spare.CTRL")[2]
    code, _, err = run("--board", board, "read", "tmier.CTRL")
    assert code == 2
    assert "did you mean timer?" in err
    assert run("--board", board, "--map", TIMER, "read", "timer.CTRL")[0] == 2
