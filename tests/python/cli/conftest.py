"""A timer with a bit of everything, and ways to run the command line on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from devregs.cli import main

PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture(scope="session")
def timer_file() -> str:
    return str(Path(__file__).parent / "timer.toml")


@pytest.fixture
def run(capsys):
    """Runs a command line; gives its exit code and what it printed."""

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(argv))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def on(run, timer_file):
    """Runs a command on the timer as a mock."""
    return lambda command, *argv: run(command, "--map", timer_file, "mock:", *argv)


@pytest.fixture
def memory(tmp_path):
    """A file as the timer's memory, and the options that open it."""
    path = tmp_path / "memory"
    content = bytearray(0x2010)
    content[0x2000:0x2004] = 0x71BE0001.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path):
    """The folders of a machine with a UIO device."""
    root = tmp_path / "root"
    sysfs = root / "sys/class/uio/uio0"
    put(sysfs / "name", "labtimer\n")
    put(sysfs / "event", "0\n")
    spans = {"addr": "0x40000000", "offset": "0x0", "size": f"{3 * PAGE:#x}", "name": "regs"}
    for key, text in spans.items():
        put(sysfs / "maps/map0" / key, f"{text}\n")
    (sysfs / "device").mkdir()
    node = root / "dev/uio0"
    put(node, "")
    node.write_bytes(bytes(3 * PAGE))
    return root


@pytest.fixture
def board(tmp_path, memory, timer_file):
    path = tmp_path / "lab.toml"
    path.write_text(
        f'[devices.timer]\nmap = "{timer_file}"\nsource = "mock:"\n'
        f'[devices.spare]\nmap = "{timer_file}"\nsource = "file:{memory}"\n'
    )
    return str(path)
