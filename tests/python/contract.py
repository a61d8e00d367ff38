"""The access contract: each call with the exact accesses it makes, as the tracer must see them.

`python tests/python/contract.py` writes docs/access-contract.md from a run; test_contract.py checks every line.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import devregs
from devregs import _devregs

ROOT = Path(__file__).parents[2]
KIT = ROOT / "tests/python/kit.toml"
DOC = ROOT / "docs/access-contract.md"

SNAPSHOT = "R4@0x0 R1@0x34 R1@0x35 R1@0x36 R1@0x37"

# Each group: a title, the region traced, and its cases: a statement and its accesses, one R or W each with its width in
# bytes and the offset in the region. `dev` is the kit of kit.toml over a file; the other names are below.
GROUPS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "Registers",
        "regs",
        [
            ("dev.CTRL.read()", "R4@0x0"),
            ("dev.CTRL.write(5)", "W4@0x0"),
            ("dev.BIG.read()", "R8@0x20"),
            ("dev.BIG.write(5)", "W8@0x20"),
            ("dev.HALF.read()  # 16 bits, big-endian", "R2@0x38"),
            ("dev.HALF.write(5)", "W2@0x38"),
            ("dev.SMALL[1].read()", "R1@0x35"),
            ("dev.SMALL[1].write(5)", "W1@0x35"),
            ("dev.BIGSPLIT.read()  # 64 bits split, high half first", "R4@0x30 R4@0x2c"),
            ("dev.BIGSPLIT.write(5)", "W4@0x30 W4@0x2c"),
            ("dev.CH[3].DMA.ADDR.read()", "R8@0x170"),
            ("dev['CH[3].DATA[1]'].read()", "R4@0x168"),
            ("dev['CTRL'] = 5", "W4@0x0"),
        ],
    ),
    (
        "Fields",
        "regs",
        [
            ("dev.CTRL.EN", "R4@0x0"),
            ("dev.CTRL.MODE  # a member of an enum", "R4@0x0"),
            ("dev.CTRL['EN']", "R4@0x0"),
            ("dev['CTRL.EN']", "R4@0x0"),
            ("dev.CTRL.EN = 1", "R4@0x0 W4@0x0"),
            ("dev.CTRL.MODE = 'FAST'", "R4@0x0 W4@0x0"),
            ("dev.CTRL['EN'] = 1", "R4@0x0 W4@0x0"),
            ("dev['CTRL.EN'] = 1", "R4@0x0 W4@0x0"),
            ("dev.BIG.HIGH = 1", "R8@0x20 W8@0x20"),
            ("dev.HALF.TOP = 1", "R2@0x38 W2@0x38"),
            ("dev.CTRL.modify(EN=1)", "R4@0x0 W4@0x0"),
            ("dev.CTRL.modify(EN=1, MODE=3, COUNT=7)", "R4@0x0 W4@0x0"),
            ("dev.CTRL.modify({'EN': 1}, MODE='SLOW')", "R4@0x0 W4@0x0"),
            ("dev.STATUS.ERROR = 1  # write one to clear", "R4@0x4 W4@0x4"),
            ("dev.ACK.A = 1  # write-only register", "W4@0xc"),
            ("dev.COMMAND.modify(CODE=1, FLAG=0)", "W4@0x8"),
        ],
    ),
    (
        "Registers whose read has a side effect",
        "effects",
        [
            ("dev.POP.read()", "R4@0x0"),
            ("dev.MIXED.modify(ENABLE=1, CLEAR=1)  # no read", "W4@0x4"),
            ("dev.MIXED.EVENT", "R4@0x4"),
            ("print(dev.POP)", ""),
            ("print(dev.MIXED)", ""),
            ("list(dev.registers())", ""),
        ],
    ),
    (
        "Alias registers",
        "alias",
        [
            ("alias.OUT.PIN = 1  # all ones: the set alias", "W4@0x4"),
            ("alias.OUT.PIN = 0  # all zeros: the clear alias", "W4@0x8"),
            ("alias.OUT.PORT = 5  # both: read and write", "R4@0x0 W4@0x0"),
            ("alias.OUT.write(5)", "W4@0x0"),
        ],
    ),
    (
        "Waiting",
        "regs",
        [
            ("dev.CTRL.wait(EN=1, timeout=1)  # is there at once", "R4@0x0"),
            ("refused(lambda: dev.CTRL.wait(EN=0, timeout=0))  # is not", "R4@0x0"),
        ],
    ),
    (
        "Regions and blocks",
        "regs",
        [
            ("regs.read(8)", "R4@0x8"),
            ("regs.read(8, width=64)", "R8@0x8"),
            ("regs.read(9, width=8)", "R1@0x9"),
            ("regs.write(8, 1)", "W4@0x8"),
            ("regs.write(8, 1, width=16)", "W2@0x8"),
            ("regs.read_into(bytearray(12), 0x100)", "R4@0x100 R4@0x104 R4@0x108"),
            ("regs.read_into(bytearray(4), 0x100, width=16)", "R2@0x100 R2@0x102"),
            ("regs.read_into(bytearray(3), 0x101, width=8)", "R1@0x101 R1@0x102 R1@0x103"),
            ("regs.read_into(bytearray(16), 0x100, width=64)", "R8@0x100 R8@0x108"),
            ("regs.read_into(bytearray(12), 0x100, fixed=True)", "R4@0x100 R4@0x100 R4@0x100"),
            ("regs.write_from(bytes(12), 0x100)", "W4@0x100 W4@0x104 W4@0x108"),
            ("regs.write_from(bytes(12), 0x100, fixed=True)", "W4@0x100 W4@0x100 W4@0x100"),
            ("regs.read_into(bytearray(), 0x100)", ""),
        ],
    ),
    (
        "A FIFO region",
        "fifo",
        [
            ("dev.regions.fifo.read_into(bytearray(12))", "R4@0x0 R4@0x0 R4@0x0"),
            ("dev.regions.fifo.write_from(bytes(8))", "W4@0x0 W4@0x0"),
        ],
    ),
    (
        "A big-endian region",
        "big",
        [
            ("dev.regions.big.read(2)", "R2@0x2"),
            ("dev.regions.big.read_into(bytearray(4))", "R2@0x0 R2@0x2"),
            ("dev.regions.big.write_from(bytes(4))", "W2@0x0 W2@0x2"),
        ],
    ),
    (
        "Views (what Python itself does with one)",
        "regs",
        [
            ("view[2]", "R4@0x8"),
            ("view[2] = 1", "W4@0x8"),
            ("view[2] |= 1", "R4@0x8 W4@0x8"),
            ("view[2:5].tolist()", "R4@0x8 R4@0xc R4@0x10"),
            ("dev.regions.regs.view(offset=8, size=4)", ""),
            ("(view.format, view.nbytes, view.shape, len(view), repr(view))", ""),
        ],
    ),
    (
        "Looking changes nothing",
        "regs",
        [
            ("repr(dev)", ""),
            ("repr(dev.CTRL)", ""),
            ("repr(dev.CH)", ""),
            ("repr(dev.CH[1])", ""),
            ("repr(dev.regions)", ""),
            ("repr(regs)", ""),
            ("repr(type(dev.CTRL).EN)", ""),
            ("f'{dev!r} {dev.CTRL!r}'", ""),
            ("dir(dev)", ""),
            ("dir(dev.CTRL)", ""),
            ("dir(dev.CH[1])", ""),
            ("help_text(dev)", ""),
            ("help_text(dev.CTRL)", ""),
            ("help_text(regs)", ""),
            ("complete('dev.')", ""),
            ("complete('dev.CTRL.')", ""),
            ("complete('dev.CTRL.M')", ""),
            ("ipython.complete('dev.')", ""),
            ("ipython.complete('dev.CTRL.')", ""),
            ("ipython.complete('dev[\"CT')", ""),
            ("ipython.display_formatter.format(dev)", ""),
            ("dev._ipython_key_completions_()", ""),
            ("refused(lambda: pickle.dumps(dev))", ""),
            ("refused(lambda: pickle.dumps(dev.CTRL))", ""),
            ("(copy.copy(dev.CTRL), copy.deepcopy(dev))", ""),
            ("(dev == dev, dev.CTRL == dev.STATUS, dev != 1, 'CTRL.EN' in dev)", ""),
            ("refused(lambda: dev.CTRL == 1)", ""),
            ("refused(lambda: bool(dev.CTRL))", ""),
            ("(hash(dev), hash(dev.CTRL), bool(dev), len(dev), list(dev))", ""),
            ("[register.path for register in dev.registers()]", ""),
            ("inspect.getmembers_static(dev.CTRL)", ""),
            ("dev.CTRL.fields", ""),
            ("dev.CTRL.encode(EN=1)", ""),
            ("dev.CTRL.decode(5)", ""),
            ("refused(lambda: dev.CTRL.write(1 << 40))", ""),
            ("refused(lambda: dev.CTRL.modify(EN=2))", ""),
            ("refused(lambda: setattr(dev.CTRL, 'MODE', 'FATS'))", ""),
            ("refused(lambda: dev.COMMAND.read())", ""),
            ("refused(lambda: setattr(dev.COMMAND, 'CODE', 1))", ""),
            ("refused(lambda: dev['NOSUCH'])", ""),
        ],
    ),
    (
        "Printing reads each register once",
        "regs",
        [
            ("str(dev.CTRL)", "R4@0x0"),
            ("f'{dev.CTRL}'", "R4@0x0"),
            ("print(dev.CTRL)", "R4@0x0"),
            ("dev.CTRL._repr_html_()", "R4@0x0"),
            ("ipython.display_formatter.format(dev.CTRL)  # a notebook's cell", "R4@0x0"),
            ("ipython.inspector.info(dev.CTRL)  # dev.CTRL? shows str(dev.CTRL)", "R4@0x0"),
            ("print(dev.COMMAND)  # write-only", ""),
            ("str(dev)", ""),
        ],
    ),
    (
        "Snapshots",
        "regs",
        [
            ("dev.snapshot(only=['SMALL', 'CTRL', 'ACK'])", SNAPSHOT),
            ("dev.snapshot(only='ACK')  # write-only", ""),
            ("(repr(saved), str(saved), saved['CTRL.EN'], saved.diff(saved))", ""),
            ("dev.CTRL.write(0); dev.restore(saved)", "W4@0x0 R4@0x0 W4@0x0 R4@0x0"),
            ("dev.restore(saved)  # nothing differs", "R4@0x0"),
            ("dev.CTRL.write(0); dev.restore(saved, dry_run=True)", "W4@0x0 R4@0x0"),
            ("dev.CTRL.write(0); dev.restore(saved, verify=False)", "W4@0x0 R4@0x0 W4@0x0"),
        ],
    ),
    (
        "Snapshots where a read has a side effect",
        "effects",
        [("dev.snapshot()", ""), ("dev.restore(whole)", "")],
    ),
]

ALIAS = """
[device]
name = "alias"
[regions.regs]
size = 0x1000
[regions.regs.registers.OUT]
offset = 0
set-alias = "SET"
clear-alias = "CLR"
fields = { PIN = 0, PORT = "7:4" }
[regions.regs.registers.SET]
offset = 4
access = "wo"
[regions.regs.registers.CLR]
offset = 8
access = "wo"
"""


class Bench:
    """The devices over files, the names the statements use, and where each region is mapped."""

    def __init__(self, folder: Path) -> None:
        self.devices: list[devregs.Device] = []
        self.files: list[Path] = []
        dev = self.open(KIT.read_text(), folder / "kit", 0xB000)
        alias = self.open(ALIAS, folder / "alias", 0x1000)
        self.view = dev.regions.regs.view()
        dev.CTRL.write(0x8001_0031)
        _ = dev.CTRL.MODE  # its enum is made once
        self.names: dict[str, object] = {
            "dev": dev,
            "alias": alias,
            "regs": dev.regions.regs,
            "view": self.view,
            "saved": dev.snapshot(only="CTRL"),
            "whole": dev.snapshot(),
            "refused": refused,
            "help_text": help_text,
            "complete": self.complete,
            "print": lambda *things: [str(thing) for thing in things],
        }
        for module in ("copy", "inspect", "pickle"):
            self.names[module] = __import__(module)
        self.names["ipython"] = ipython(self.names, str(folder))
        self.spans = {region.name: self.span(0, region) for region in dev.regions.values()}
        self.spans["alias"] = self.span(1, alias.regions.regs)

    def open(self, text: str, path: Path, size: int) -> devregs.Device:
        map = path.with_suffix(".toml")
        map.write_text(text)
        content = bytearray(size)
        if size > 0x1000:
            content[0x1000] = 0x61
        path.write_bytes(content)
        self.files.append(path)
        self.devices.append(devregs.open(map, path))
        return self.devices[-1]

    def span(self, index: int, region: devregs.Region) -> tuple[int, int]:
        """Where the region lies in this process: its file is mapped at its own offset."""
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(str(self.files[index])):
                addresses, _, offset, *_ = line.split()
                start, end = (int(part, 16) for part in addresses.split("-"))
                first = int(offset, 16)
                if first <= region.offset < first + end - start:
                    return start + region.offset - first, region.size
        raise AssertionError(f"{region!r} is not mapped")

    def complete(self, text: str) -> list[str]:
        """What tab does in Python's own prompt."""
        import rlcompleter

        completer = rlcompleter.Completer(self.names)
        found = []
        while (match := completer.complete(text, len(found))) is not None:
            found.append(match)
        return found

    def run(self, statement: str, region: str) -> str:
        from tracer import trace

        code = compile(statement, "<contract>", "exec")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # IPython's own deprecations are not ours
            # The tracer's handler stays above the guard's, as it was installed.
            _devregs._keep_guard_on_top(False)
            try:
                with trace(*self.spans[region]) as log:
                    exec(code, self.names)
            finally:
                _devregs._keep_guard_on_top(True)
        return str(log)

    def close(self) -> None:
        self.view.release()
        for device in self.devices:
            device.close()


def ipython(names: dict[str, object], folder: str) -> Any:
    """An IPython shell without a terminal and without a history."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        shell = InteractiveShell.instance(config=config, ipython_dir=folder)
        shell.user_ns.update(names)
        # Jedi reads sources and does not look at objects; the shell's own completer does.
        shell.Completer.use_jedi = False
        assert "MODE" in "".join(shell.complete("dev.CTRL.")[1])
    return shell


def refused(call: object) -> None:
    """The call must fail."""
    assert callable(call)
    try:
        call()
    except Exception:
        return
    raise AssertionError("was not refused")


def help_text(thing: object) -> str:
    """What help() prints."""
    import pydoc

    return pydoc.plain(pydoc.render_doc(thing))


def document() -> str:
    """The page, from a run."""
    from alternatives import facts, rows, table

    lines = [HEAD]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for title, region, cases in GROUPS:
            lines += [f"### {title}", "", "| call | accesses |", "| --- | --- |"]
            for statement, _ in cases:
                accesses = bench.run(statement, region)
                lines.append(
                    f"| `{statement.replace('|', chr(92) + '|')}` | {accesses or 'none'} |"
                )
            lines.append("")
        bench.close()
    lines += [ON_PCI, GUARD, ALTERNATIVES, table(rows()), "", facts(), ""]
    return "\n".join(lines)


HEAD = """# The access contract

One call, one bus access. This page says for each call which accesses it makes: `R4@0x10` is one load of 4 bytes at offset
0x10 of the region, `W` a store. It is written from a run: a tracer protects the mapped pages, catches each fault, decodes the
instruction and lets it through in a single step, so that nothing is taken from the source code's word. The test suite
compares every line with what the tracer sees.

The device is the test kit of `tests/python/kit.toml`: `CTRL` (32 bits, offset 0), `STATUS` with write-one-to-clear
fields, write-only `COMMAND` and `ACK`, 64-bit `BIG`, big-endian 16-bit `HALF`, and so on. `refused(...)` is a call that raises an error.

## devregs
"""

ON_PCI = """## On PCI

A PCI function that is gone, asleep or does not decode memory answers each load with all ones. So where a load of `pci:`, or of `uio:` on a card,
gives all ones, and only then, a second look follows, which is none at the device's registers: sysfs is asked for the power state, and, of a function that is
awake, for the first 40 bytes of its configuration space, which the kernel reads in words of 4 bytes. Of a block, the last word decides. An
answer is kept a millisecond, so that a loop over a register that holds all ones asks a thousand times a second at most. Where the function does not answer, the call is a
`BusError`, and the store of a read-modify-write is not made. Where it does, the value is what was read. Views are Python's own: nothing looks after them.
`dev.verify()` and an open ask the same, and read each register that has an `expect` value once.
"""

GUARD = """## Where the fault guard ends

A bad access of a register or a region is a BusError because a signal handler of devregs is on top of all others. It stays there when
Python code calls `faulthandler.enable()`, `disable()`, `register()` or `unregister()`, `signal.signal()` or `signal.pthread_sigmask()` after a device was
opened. The rest is this:

| what | what happens |
| --- | --- |
| native code sets a handler for SIGBUS or SIGSEGV by itself | a bad access may end the process until the next open, view, wait, or block of 4 KiB or more. Then the guard is back, and a RuntimeWarning names the library. `devregs.keep_guard()` puts it back at once, without a warning |
| native code starts a thread with these signals blocked | the same, for that thread: call `devregs.keep_guard()` in it |
| an access through a memoryview | the process ends, after one line that names the register |
| a store that the bus takes first and refuses later (posted) | the processor is told late or not at all: no error |
| a load on PCI that nobody answers, on x86 | all ones; see above |
"""

ALTERNATIVES = """## The usual alternatives

What the usual ways do to one 32-bit register, traced the same way. A read that reads twice pops two words of a FIFO; a write
that stores 0 first, or loads first, does what nobody asked for. How memcpy and memset split depends on the processor and
the C library.
"""

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "tests/tracer"), str(ROOT / "tests/python")]
    DOC.write_text(document())
    print(f"wrote {DOC}")
