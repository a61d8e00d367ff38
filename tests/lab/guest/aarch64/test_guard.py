"""Where nothing answers: a bus fault is an exception, and the process goes on."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]
HOLE = 0x0C00_0000
# A view is plain memory: a fault there ends the process, but not without a word.
VIEW = """
import sys, devregs
with devregs.open(sys.argv[1], "uio:labmulti") as multi:
    multi.regions.hole.view()[4]
"""


@pytest.fixture
def multi(maps: Path) -> Iterator[devregs.Device]:
    with devregs.open(maps / "labmulti.toml", "uio:labmulti") as device:
        yield device


def test_register_read(multi: devregs.Device, answered: Answered) -> None:
    with pytest.raises(devregs.BusError, match="NOTHING") as error:
        multi.NOTHING.read()
    fault = error.value
    assert (fault.address, fault.width, fault.write, fault.signal) == (
        HOLE + 0x10,
        32,
        False,
        signal.SIGBUS,
    )
    assert multi.MAGIC.read() == 0x7472_6976
    answered("labmulti", f"hole at {fault.address:#x}: BusError, signal {fault.signal}")


def test_register_write(multi: devregs.Device) -> None:
    with pytest.raises(devregs.BusError, match="write") as error:
        multi.NOTHING.write(1)
    assert error.value.write


def test_field_and_wait(multi: devregs.Device) -> None:
    with pytest.raises(devregs.BusError):
        _ = multi.NOTHING.BIT
    with pytest.raises(devregs.BusError):
        multi.NOTHING.BIT = 1
    with pytest.raises(devregs.BusError):
        multi.NOTHING.modify(BIT=1)
    with pytest.raises(devregs.BusError):
        multi.NOTHING.wait(BIT=1, timeout=1)


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_words_of_every_width(multi: devregs.Device, width: int) -> None:
    with pytest.raises(devregs.BusError) as error:
        multi.regions.hole.read(0x20, width=width)
    assert (error.value.width, error.value.offset) == (width, 0x20)
    with pytest.raises(devregs.BusError) as error:
        multi.regions.hole.write(0x20, 0, width=width)
    assert error.value.write


def test_blocks(multi: devregs.Device) -> None:
    with pytest.raises(devregs.BusError):
        multi.regions.hole.read_into(bytearray(16))
    with pytest.raises(devregs.BusError):
        multi.regions.hole.write_from(bytes(16))


def test_many_faults_in_many_threads(multi: devregs.Device) -> None:
    caught = []

    def fault() -> None:
        for _ in range(500):
            with pytest.raises(devregs.BusError):
                multi.NOTHING.read()
        caught.append(500)

    threads = [threading.Thread(target=fault) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(caught) == 2000


def test_dev_mem(maps: Path) -> None:
    with (
        devregs.open(maps / "page.toml", f"mem:{HOLE:#x}") as page,
        pytest.raises(devregs.BusError),
    ):
        page.WORD.read()


def test_view_says_what_it_hit(maps: Path) -> None:
    command = [sys.executable, "-c", VIEW, str(maps / "labmulti.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGBUS
    assert "NOTHING" in done.stderr
