"""Unaligned accesses to Device memory: arm64 has none, and QEMU with two processors models it."""

import signal
import subprocess
import sys

import devregs

# What libc's memcpy does over registers, in a process of its own: it ends there.
COPY = """
import devregs
with devregs.open("pl031", "uio:labrtc") as rtc:
    rtc.regions.id.view().cast("B")[1:13].tobytes()
"""


def test_a_plain_copy_is_an_alignment_fault() -> None:
    done = subprocess.run([sys.executable, "-c", COPY], capture_output=True, check=False)
    assert done.returncode == -signal.SIGBUS


def test_the_same_registers_word_by_word() -> None:
    with devregs.open("pl031", "uio:labrtc") as rtc:
        words = bytearray(12)
        assert rtc.regions.id.read_into(words, 4) == 3
        assert memoryview(words).cast("I").tolist() == [0x10, 0x14, 0x00]
