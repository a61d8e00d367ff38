"""Machines under QEMU: their command lines, and a run of the guest's tests over the serial line."""

import json
import os
import secrets
import selectors
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache import Cache, Step, run
from kernel import Kernel

HERE = Path(__file__).parent
TIMEOUT = 300.0

# Emulation even where /dev/kvm is there: it may be, and still hang the kernel.
COMMON = "-accel tcg -m 512 -nodefaults -display none -serial stdio -no-reboot"
ARGUMENTS = {
    "x86_64": "-machine q35 -cpu max -device edu -device pci-ohci -device pci-ohci -device pci-ohci",
    # Two processors: with one, QEMU does not model the alignment faults of Device memory.
    "aarch64": "-machine virt -cpu cortex-a57 -smp 2",
    # Debian's kernel has addresses of 32 bits there: highmem would put the card beyond them.
    "armv7": "-machine virt,highmem=off -cpu cortex-a15 -smp 2 -device edu",
}
PROGRAMS = {"x86_64": "x86_64", "aarch64": "aarch64", "armv7": "arm"}
CONSOLES = {"x86_64": "ttyS0", "aarch64": "ttyAMA0", "armv7": "ttyAMA0"}


@dataclass
class Outcome:
    """What a guest's tests came to."""

    machine: str
    seconds: float = 0.0
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    # Why the run as a whole is worth nothing, if it is.
    trouble: str = ""
    answers: list[tuple[str, str]] = field(default_factory=list)


def device_tree(cache: Cache, emulator: Step) -> Step:
    """The virt machine's own device tree with the devices of `aarch64.dtso` laid over it."""
    overlay = HERE / "aarch64.dtso"

    def make(folder: Path) -> None:
        tools = emulator.folder / "bin"
        own, laid = folder / "virt.dtb", folder / "overlay.dtbo"
        dump = ARGUMENTS["aarch64"].replace("virt", f"virt,dumpdtb={own}").split()
        run([tools / "qemu-system-aarch64", *COMMON.split(), *dump])
        run([tools / "dtc", "-@", "-q", "-I", "dts", "-O", "dtb", "-o", laid, overlay])
        run([tools / "fdtoverlay", "-i", own, "-o", folder / "lab.dtb", laid])

    return cache.step(
        "device-tree", [emulator.key, overlay.read_text(), COMMON, ARGUMENTS["aarch64"]], make
    )


def boot(
    cache: Cache, machine: str, emulator: Step, kernel: Kernel, image: Path, tree: Path | None
) -> Outcome:
    """Boot a guest, show its tests' output, and say what came of them."""
    token = secrets.token_hex(4)
    quiet = "quiet loglevel=1 panic=-1"
    command = [
        str(emulator.folder / f"bin/qemu-system-{PROGRAMS[machine]}"),
        *COMMON.split(),
        *ARGUMENTS[machine].split(),
    ]
    command += ["-kernel", str(kernel.image), "-initrd", str(image)]
    command += [
        "-append",
        f"console={CONSOLES[machine]} {quiet} lab.token={token} lab.machine={machine}",
    ]
    if tree:
        command += ["-dtb", str(tree)]
    log = cache.root / f"{machine}.log"
    start = time.monotonic()
    # A socket's path has about 100 characters: the cache's may be longer.
    with tempfile.TemporaryDirectory(prefix="devregs-lab-") as folder:
        control = Path(folder) / "qmp"
        command += ["-qmp", f"unix:{control},server=on,wait=off"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                conversation = Conversation(machine, token, control)
                conversation.follow(process, start + TIMEOUT)
            finally:
                process.kill()
    log.write_text(conversation.everything)
    outcome = conversation.outcome(process.wait())
    outcome.seconds = time.monotonic() - start
    if outcome.trouble:
        outcome.trouble += f"; the whole serial line is in {log}"
    return outcome


class Conversation:
    """The serial line of a guest: its own markers among whatever else is printed there.

    A marker is `@@lab:TOKEN:WORD TEXT` up to the end of the line. Each run has a token of its own:
    then nothing else looks like a marker.
    """

    def __init__(self, machine: str, token: str, control: Path) -> None:
        self.machine = machine
        self.mark = f"@@lab:{token}:"
        self.control = control
        self.everything = ""
        self.rest = ""
        self.showing = False
        self.timed_out = False
        self.result: dict[str, Any] | None = None
        self.exit_code: int | None = None

    def follow(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        """Read until the machine ends or the time is up."""
        assert process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.timed_out = True
                    break
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                self._take(data.decode(errors="replace").replace("\r", ""))
        self._line(self.rest)

    def _take(self, text: str) -> None:
        self.everything += text
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        before, mark, rest = line.partition(self.mark)
        if before.strip() and (self.showing or "Kernel panic" in before):
            print(f"  {self.machine} | {before}", flush=True)
        if mark:
            word, _, text = rest.partition(" ")
            self._marker(word, text)

    def _marker(self, word: str, text: str) -> None:
        match word:
            case "begin":
                self.showing = True
            case "pulse":
                power_button(self.control)
            case "result":
                self.result = json.loads(text)
            case "end":
                self.exit_code = int(text)
                self.showing = False

    def outcome(self, status: int) -> Outcome:
        """Nothing counts as good but a whole run in which every test passed."""
        outcome = Outcome(self.machine)
        if self.result:
            outcome.passed, outcome.failed = self.result["passed"], self.result["failed"]
            outcome.answers = [(device, text) for device, text in self.result["answers"]]
        if "Kernel panic" in self.everything:
            outcome.trouble = "the kernel panicked"
        elif self.timed_out:
            outcome.trouble = f"no end after {TIMEOUT:.0f} s"
        elif self.exit_code is None:
            outcome.trouble = f"QEMU ended ({status}) before the tests did"
        elif not self.result:
            outcome.trouble = f"pytest ended ({self.exit_code}) without a result"
        elif not outcome.passed and not outcome.failed:
            outcome.trouble = "no test ran"
        elif self.exit_code != 0 and not outcome.failed:
            outcome.trouble = f"pytest ended with exit code {self.exit_code}"
        return outcome


def power_button(control: Path) -> None:
    """Press the machine's power button, over QEMU's monitor protocol (QMP).

    On virt that is a pulse on line 3 of its PL061.
    """
    with socket.socket(socket.AF_UNIX) as link, link.makefile("rw") as stream:
        link.settimeout(10)
        link.connect(str(control))
        stream.readline()
        for command in ("qmp_capabilities", "system_powerdown"):
            stream.write(json.dumps({"execute": command}) + "\n")
            stream.flush()
            while "return" not in json.loads(stream.readline()):
                pass
