"""The command line, and a board map, over real devices."""

import json
import subprocess
import sys
from pathlib import Path

import devregs


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "devregs", *words], capture_output=True, text=True, check=False
    )


def test_write_and_read() -> None:
    assert command("write", "uio:labrtc", "MR=0x1234").returncode == 0
    done = command("read", "uio:labrtc", "MR")
    assert done.returncode == 0
    assert "0x1234" in done.stdout.replace("0x00001234", "0x1234")


def test_dump_finds_the_map_by_itself() -> None:
    done = command("dump", "uio:labgpio")
    assert done.returncode == 0, done.stderr
    assert "PERIPHID0" in done.stdout


def test_irq() -> None:
    with devregs.open("pl031", "uio:labrtc") as rtc:
        rtc.MR.write(rtc.DR.read() + 2)
        rtc.IMSC.write(1)
        done = command("irq", "uio:labrtc", "--count", "1", "--timeout", "10", "--json")
        rtc.IMSC.write(0)
        rtc.ICR.write(1)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["events"] == 1


def test_doctor_on_a_good_source() -> None:
    done = command("doctor", "uio:labrtc")
    assert done.returncode == 0, done.stdout


def test_board(maps: Path) -> None:
    with devregs.open_board(maps / "board.toml") as board:
        assert board.rtc.PERIPHID0.read() == 0x31
        assert board.gpio.PERIPHID0.read() == 0x61
        assert board.multi.MAGIC.read() == 0x7472_6976
