"""Finding devices, asking the doctor, waiting for interrupts; and the program itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import devregs
import pytest
from devregs.cli import COMMANDS, options

TIMER = str(Path(__file__).parent / "timer.toml")

BAD = """\
[device]
name = "bad"
widht = 32
[regions.regs]
size = 0x10
access = "rx"
"""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# discovery


def test_scan(run, root):
    code, out, _ = run("scan", "--root", str(root))
    assert code == 0
    head, row = out.splitlines()
    assert head.split()[:3] == ["SOURCE", "NAME", "DRIVER"]
    assert row.split()[:2] == ["uio:labtimer", "labtimer"]
    assert json.loads(run("scan", "--json", "--root", str(root))[1]) == devregs.scan(root)


def test_scan_finds_nothing(run, tmp_path):
    assert run("scan", "--root", str(tmp_path), "--json")[:2] == (1, "[]\n")


def test_the_map_of_a_source_is_found_or_asked_for(run, root, monkeypatch):
    argv = ("read", "--no-verify", "--root", str(root))
    for source in ("uio:0", "uio:labtimer"):
        code, _, err = run(*argv, source, "CTRL")
        assert code == 2
        assert "no map of the library fits it (labtimer)" in err
        assert run(*argv, "--map", TIMER, source, "CTRL")[0] == 0
    code, _, err = run(*argv, "uio:1", "CTRL")
    assert code == 3
    assert "no such device; there is uio:labtimer" in err
    found = [{**devregs.scan(root)[0], "fits": [TIMER]}]
    monkeypatch.setattr("devregs._devregs.scan", lambda root: found)
    assert json.loads(run(*argv, "uio:0", "CTRL", "--json")[1])[0]["address"] == 0x4000_0000


@pytest.mark.parametrize("source", ["mock:", "mem:0x1000", "file:x", "nonsense", "usb:1", ""])
def test_sources_that_do_not_tell_their_map(run, source):
    code, _, err = run("read", source, "CTRL")
    assert code == 2
    assert "--map" in err or "no source" in err


# doctor


def test_doctor_of_a_good_source(run, root):
    code, out, _ = run("doctor", "--root", str(root), "--map", TIMER, "--no-verify", "uio:labtimer")
    assert code == 0
    assert "ok  uio:labtimer is labtimer" in out
    assert out.splitlines()[-1] == "ok  opens as timer"


def test_doctor_says_what_is_missing(run, root, tmp_path):
    code, out, _ = run("doctor", "--root", str(root), "uio:gpio")
    assert code == 1
    assert "no  there is no uio:gpio; there is uio:labtimer (labtimer)" in out
    put(root / "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    put(root / "proc/iomem", "40000000-4fffffff : bus\n  40000000-40000fff : serial\n")
    code, out, _ = run("doctor", "--root", str(root), "mem:0x40000000")
    assert code == 1
    assert re.search(r"no  there is no .*/dev/mem", out)
    assert "locked down (integrity)" in out
    assert "0x40000000 to 0x40000fff belongs to serial" in out
    assert "uio:labtimer has the address too" in out
    code, out, _ = run("doctor", "--json", f"file:{tmp_path}/missing")
    assert code == 1
    assert json.loads(out)["opens"] is False
    assert run("doctor", "--root", str(tmp_path), "uio:0")[0] == 1
    assert run("doctor", "--root", str(tmp_path), "pci:10ee:7021")[0] == 1


def test_doctor_without_a_map_tries_the_first_word(run, memory):
    code, out, _ = run("doctor", f"file:{memory}")
    assert code == 0
    assert "its first word can be mapped" in out


# interrupts


class FakeDevice:
    def __init__(self, irq):
        self.irq = irq

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class FakeInterrupt:
    def __init__(self, events):
        self.events, self.count, self.missed = list(events), 0, 0

    def wait(self, timeout):
        if not self.events:
            raise devregs.WaitTimeout(f"interrupt: nothing after {timeout} s")
        new = self.events.pop(0)
        self.count += new
        self.missed += new - 1
        return new


def test_irq_counts_and_times_out(run, monkeypatch):
    events = [1, 3, 1]
    monkeypatch.setattr("devregs._devregs.open", lambda *a, **k: FakeDevice(FakeInterrupt(events)))
    argv = ("irq", "--map", TIMER, "uio:0")
    code, out, _ = run(*argv, "--json", "--count", "2")
    assert code == 0
    first, second = (json.loads(line) for line in out.splitlines())
    assert set(first) == {"events", "count", "missed", "seconds"}
    assert (second["events"], second["count"], second["missed"]) == (3, 4, 2)
    code, out, err = run(*argv, "--timeout", "0.5")
    assert (code, out.count("\n")) == (5, 3)
    assert "nothing after 0.5 s" in err


def test_irq_of_a_source_without(run, memory, timer_file):
    argv = ("irq", "--map", timer_file, f"file:{memory}")
    code, _, err = run(*argv)
    assert code == 3
    assert "has no interrupts" in err
    assert run(*argv, "--count", "0")[0] == 2
    assert run(*argv, "--timeout", "-1")[0] == 2


# the program itself


def test_help_of_every_command(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert f"  {command} " in out
        code, text, _ = run(command, "--help")
        assert code == 0
        assert f"usage: devregs {command}" in text
        assert "exit codes:" in text
    assert run("--version")[1] == f"devregs {devregs.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "a command is missing"),
        (["dmup"], "unknown command 'dmup'; did you mean dump?"),
        (["\x1b[31m"], r"unknown command '\\x1b[31m'"),
        (["--nope"], "unknown option --nope"),
        (["scan", "--map", "x"], "unrecognized arguments"),
        (["dump"], "dump needs a SOURCE"),
        (["read"], "required"),
        (["irq", "--count", "x", "mock:"], "invalid int value"),
        (["show", "no-such-map"], "no-such-map"),
        (["read", "--map", TIMER, "usb:1", "CTRL"], "usb:1"),
    ],
)
def test_wrong_command_lines(run, argv, message):
    code, out, err = run(*argv)
    assert code in (2, 3)
    assert out == ""
    assert message in err


def test_a_map_with_errors_is_no_wrong_command_line(run, tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text(BAD)
    code, _, err = run("show", str(bad))
    assert code == 1
    assert err.startswith(f"devregs: error: {bad} cannot be used\n{bad}:3:1: error: ")


def test_another_device_than_the_map_says(run, memory):
    memory.write_bytes(bytes(0x2010))
    code, _, err = run("read", "--map", TIMER, f"file:{memory}", "CTRL")
    assert code == 3
    assert "ID is 0x0, not 0x71be0001" in err
    assert "--no-verify" in err


def devregs_process(*argv: str, **more) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "devregs", *argv]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **more)


def test_a_closed_pipe_is_quiet():
    process = devregs_process("dump", "--map", TIMER, "mock:", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == options.PIPE


def test_a_full_disk_is_told():
    with Path("/dev/full").open("w") as full:
        process = devregs_process("dump", "--map", TIMER, "mock:", stdout=full)
        err = process.communicate()[1]
    assert process.returncode == 1
    assert "No space left" in err


def test_ctrl_c_ends_with_130(tmp_path):
    script = (
        "import signal, sys, time\nfrom devregs.cli import main, irq\n"
        # A background job of a shell starts with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def run(options):\n    print('waiting', flush=True)\n    time.sleep(60)\n"
        "irq.run = run\nsys.exit(main(['irq', 'mock:']))\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.communicate()[1] == ""
    assert process.returncode == 130


def test_text_that_the_output_cannot_show(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text(
        '[device]\nname = "x"\ntitle = "größer ≥"\n[regions.r]\nsize = 4\n', encoding="utf-8"
    )
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = devregs_process("show", str(path), stdout=subprocess.PIPE, env=env)
    assert r"gr\xf6\xdfer \u2265" in process.communicate()[0]
    assert process.returncode == 0


def test_importing_the_library_is_cheap():
    """Who only reads a register does not pay for argparse, asyncio and their like."""
    script = (
        "import sys\nbefore = set(sys.modules)\nimport devregs\nprint(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"argparse", "asyncio", "enum", "json", "pathlib", "re", "typing", "difflib", "inspect"}
    assert not heavy & set(done.stdout.split())


def test_a_recording_tells_its_map(run, tmp_path):
    path = tmp_path / "session.jsonl"
    with devregs.mock("pl031") as rtc, rtc.trace() as log:
        rtc.hw.DR.write(7)
        rtc.DR.read()
    log.save(path)
    assert run("read", f"replay:{path}", "DR")[:2] == (0, "DR  0x00000007  7\n")
    code, _, err = run("read", f"replay:{path}", "MR")
    assert code != 0
    assert "access 1 is not that of the recording" in err
    path.write_text('{"map": "mine"}\n')
    assert "which is no map of the library" in run("read", f"replay:{path}", "DR")[2]
    path.write_text("[]\n")
    assert "is no recording" in run("read", f"replay:{path}", "DR")[2]
    assert run("read", f"replay:{path}x", "DR")[0] == 3
