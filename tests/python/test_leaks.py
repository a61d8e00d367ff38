"""What is left over after many opens and accesses: no file, no mapping, no memory, no reference."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from pathlib import Path

import devregs
import pytest

KIB = 1024


def files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def mappings() -> int:
    """Those of devices: a file of theirs, or the range that a closed one keeps."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum(
        "devregs-mock" in line or "/memory" in line or " ---p 00000000 00:00 0" in line
        for line in lines
    )


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def use(device: devregs.Device) -> None:
    """One of everything that is made when it is asked for."""
    device.CTRL.modify(EN=1, MODE="FAST")
    assert device.CTRL.MODE.name == "FAST"
    assert [element.path for element in device.CH[:2]] == ["CH[0]", "CH[1]"]
    assert len(list(device.registers())) > 10
    with device.regions.regs.view() as view, view[1:3] as part:
        assert len(part) == 2
    device.regions.ram.read_into(bytearray(64))
    with pytest.raises(devregs.MapError):
        device.CTRL.write(1 << 32)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("source", ["mock", "file", "shared"])
def test_opening_again_and_again_leaves_nothing(kit_map, memory, source, close):
    where = "mock:" if source == "mock" else f"file:{memory}"

    def cycle() -> None:
        device = devregs.open(kit_map, where, shared=source == "shared")
        use(device)
        if close:
            device.close()

    for _ in range(100):
        cycle()
    gc.collect()
    before = files(), mappings()
    held = resident()
    tracemalloc.start()
    traced = tracemalloc.get_traced_memory()[0]
    for _ in range(1200):
        cycle()
    gc.collect()
    traced = tracemalloc.get_traced_memory()[0] - traced
    tracemalloc.stop()
    assert (files(), mappings()) == before
    assert traced < 64 * KIB
    assert resident() - held < 1024 * KIB


def test_loading_again_and_again_leaves_nothing(kit_path):
    """A map, its classes, its fields and their enums."""

    def cycle() -> None:
        with devregs.mock(kit_path) as device:
            use(device)

    for _ in range(40):
        cycle()
    gc.collect()
    held = resident()
    for _ in range(160):
        cycle()
    gc.collect()
    assert resident() - held < 1024 * KIB


def test_failing_to_open_again_and_again_leaves_nothing(kit_map, memory, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(0xA010))
    short = tmp_path / "short"
    short.write_bytes(bytes(0x1800))

    def cycle() -> None:
        for path in (wrong, short, tmp_path / "missing", tmp_path):
            with pytest.raises(devregs.DevregsError):
                devregs.open(kit_map, f"file:{path}")

    for _ in range(50):
        cycle()
    gc.collect()
    before = files(), mappings()
    held = resident()
    for _ in range(300):
        cycle()
    gc.collect()
    assert (files(), mappings()) == before
    assert resident() - held < 1024 * KIB


ROUNDS = 100_000


def read(ctrl, values) -> None:
    for _ in range(ROUNDS):
        ctrl.read()
        ctrl.MODE  # noqa: B018
        ctrl.COUNT  # noqa: B018
        ctrl["MODE"]


def write(ctrl, values) -> None:
    large, member = values["large"], values["member"]
    for _ in range(ROUNDS):
        ctrl.write(large)
        ctrl.MODE = member
        ctrl.MODE = 3
        ctrl.COUNT = 0x1234
        ctrl["MODE"] = member


def modify(ctrl, values) -> None:
    member, count = values["member"], values["count"]
    for _ in range(ROUNDS):
        ctrl.modify(EN=1, COUNT=count)
        ctrl.modify(MODE=member)
        ctrl.modify({"COUNT": count, "MODE": member})
        ctrl.modify({"EN": True}, MODE="FAST")


def fail(ctrl, values) -> None:
    large, member = values["large"], values["member"]
    for _ in range(ROUNDS // 50):
        for access in (
            lambda: ctrl.write(large << 32),
            lambda: ctrl.modify(EN=member),
            lambda: ctrl.modify(NOPE=large),
            lambda: ctrl.modify(COUNT=None),
            lambda: setattr(ctrl, "EN", large),
            lambda: setattr(ctrl, "MODE", "NOPE"),
            lambda: ctrl.write("text"),
            lambda: delattr(ctrl, "EN"),
            lambda: ctrl.modify(large, member),
        ):
            try:
                access()
            except (devregs.MapError, TypeError, AttributeError):
                continue
            raise AssertionError


def wait(ctrl, values) -> None:
    member = values["member"]
    ctrl.MODE = member
    for _ in range(ROUNDS):
        ctrl.wait(MODE=member)


@pytest.mark.parametrize("work", [read, write, modify, fail, wait])
def test_references_do_not_drift(kit, work):
    """The short ways are C functions that count references by hand."""
    ctrl = kit.CTRL
    values = {
        "none": None,
        "true": True,
        "large": int("0x71234567", 16),
        "count": int("54321"),
        "member": ctrl.MODE,
        "enum": type(ctrl).MODE.values,
        "field": type(ctrl).MODE,
        "class": type(ctrl),
        "register": ctrl,
        "name": sys.intern("MODE"),
        "region": kit.regions.regs,
    }

    def counts() -> dict[str, int]:
        gc.collect()
        return {name: sys.getrefcount(value) for name, value in values.items()}

    work(ctrl, values)
    before = counts()
    work(ctrl, values)
    after = counts()
    # Python's own caches move a few of these; a reference lost or kept by an access would be thousands.
    cached = {"none", "true", "name"}
    drift = {name: after[name] - before[name] for name in values}
    assert not {name: n for name, n in drift.items() if abs(n) > (50 if name in cached else 0)}
