"""What a run touched of its device maps."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import devregs
import pytest
from devregs import coverage


def register(found: coverage.Coverage, path: str) -> coverage.RegisterCoverage:
    (only,) = found.maps
    return next(register for register in only.registers if register.path == path)


def fields(found: coverage.Coverage, path: str, way: str) -> set[str]:
    return {field.name for field in register(found, path).fields if getattr(field, way)}


def test_a_field_read_is_of_that_field(kit_map):
    with coverage.collect() as found:
        assert devregs.mock(kit_map).CTRL.EN == 1
    assert register(found, "CTRL").reads == 1
    assert register(found, "CTRL").writes == 0
    assert fields(found, "CTRL", "read") == {"EN"}
    assert fields(found, "CTRL", "written") == set()


def test_a_register_read_is_of_all_its_fields(kit_map):
    with coverage.collect() as found:
        devregs.mock(kit_map).CTRL.read()
    assert fields(found, "CTRL", "read") == {"EN", "MODE", "COUNT"}


def test_the_load_of_a_field_write_reads_nothing(kit_map):
    with coverage.collect() as found:
        devregs.mock(kit_map).CTRL.EN = 0
    assert register(found, "CTRL").reads == 0
    assert register(found, "CTRL").writes == 1
    assert fields(found, "CTRL", "written") == {"EN"}


def test_access_bounds_what_a_write_touches(kit_map):
    with coverage.collect() as found:
        devregs.mock(kit_map).STATUS.write(0)
    assert fields(found, "STATUS", "written") == {"ERROR", "DONE", "LEVEL", "GO"}


def test_named_values(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        device.CTRL.MODE = "TURBO"
        device.CTRL.EN = 0  # Stores TURBO again, but means EN.
        device.CTRL.modify(MODE=5)  # Has no name.
        assert not register(found, "CTRL").fields[1].values["FAST"]
        device.hw.CTRL.MODE = "FAST"
        device.CTRL.wait(EN=0)  # Asks for EN only.
        assert not register(found, "CTRL").fields[1].values["FAST"]
        device.CTRL.read()
    assert register(found, "CTRL").fields[1].values == {"SLOW": False, "FAST": True, "TURBO": True}
    assert found.maps[0].counts["values seen"] == (2, 3)


def test_names_of_written_values_of_their_own(tmp_path):
    path = tmp_path / "block.toml"
    path.write_text(
        '[device]\nname = "block"\n[regions.r]\nsize = 4\n[regions.r.registers.A]\noffset = 0\n'
        'fields.F = { bits = "1:0", values = { IDLE = 0, BUSY = 1 }, write-values = { STOP = 0, START = 1 } }\n'
    )
    with coverage.collect() as found:
        devregs.mock(path).A.write(1)
    assert register(found, "A").fields[0].values == {
        "IDLE": False,
        "BUSY": False,
        "STOP": False,
        "START": True,
    }


def test_elements_of_arrays_are_counted(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        for index in (7, 0, 7):
            device.CH[index].DATA[1].write(index)
        device.CH[2].DATA[0].read()
        device.SMALL[3].read()
    data = register(found, "CH[].DATA[]")
    assert (data.elements, data.elements_read, data.elements_written) == (16, 1, 2)
    assert (data.reads, data.writes) == (1, 3)
    assert "CH[].DATA[]: 1 read and 2 written of 16" in found.report()
    assert "SMALL[]: 1 read and 0 written of 4" in found.report()


def test_accesses_by_offset_are_of_the_registers_there(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        device.regions.regs.read_into(bytearray(16))
        device.regions.regs.write(0x8, 1)
        device.regions.regs.read(0x20)  # Half of BIG.
        device.regions.regs.read(0x800)  # No register.
    assert register(found, "CTRL").reads == 1
    assert fields(found, "CTRL", "read") == {"EN", "MODE", "COUNT"}
    assert register(found, "COMMAND").reads == 0  # Read, but write-only: this tells nothing.
    assert register(found, "COMMAND").writes == 1
    assert register(found, "BIG").reads == 1
    assert fields(found, "BIG", "read") == set()


def test_a_fault_counts_nothing(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        device.hw.CTRL.fail()
        with pytest.raises(devregs.BusError):
            device.CTRL.read()
    assert register(found, "CTRL").reads == 0


def test_it_begins_and_ends_with_the_block(kit_map):
    before, given = devregs.mock(kit_map), devregs.mock(kit_map)
    with coverage.collect(given) as outer:
        before.CTRL.read()
        given.CTRL.read()
        with coverage.collect() as inner:
            inside = devregs.mock(kit_map)
            inside.CTRL.read()
        inside.CTRL.read()
    inside.CTRL.read()
    given.CTRL.read()
    after = devregs.mock(kit_map)
    after.CTRL.read()
    assert register(outer, "CTRL").reads == 3
    assert register(inner, "CTRL").reads == 1


def test_the_check_at_open_is_not_the_users(kit_map):
    with coverage.collect() as found:
        devregs.mock(kit_map)
    assert register(found, "ID").reads == 0


def test_one_map_from_two_files_counts_once(kit_path, tmp_path):
    copy = tmp_path / "copy.toml"
    copy.write_text(kit_path.read_text())
    other = tmp_path / "other.toml"
    other.write_text(kit_path.read_text().replace("COMMAND", "ORDER"))
    with coverage.collect() as found:
        for path in (kit_path, copy, other):
            devregs.mock(path).CTRL.read()
    assert sorted(r.reads for m in found.maps for r in m.registers if r.reads) == [1, 2]


def test_a_closed_or_dropped_device_is_not_kept(kit_map, memory):
    with coverage.collect() as found:
        device = devregs.open(kit_map, f"file:{memory}")
        device.STATUS.read()
        dropped = weakref.ref(device)
        del device
        gc.collect()
        assert dropped() is None
        assert "/memory" not in Path("/proc/self/maps").read_text()
    assert register(found, "STATUS").reads == 1


def test_it_does_not_grow_with_the_accesses(kit_map):
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        block = bytearray(4 * 0x400)
        device.regions.regs.read_into(block)
        before = resident()
        for _ in range(400):
            device.regions.regs.read_into(block)
        grown = resident() - before
    assert register(found, "CTRL").reads == 401
    # Kept one by one they would take 30 MB.
    assert grown < 5_000_000


def test_threads_count_together(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)

        def work() -> None:
            for _ in range(1000):
                device.CTRL.read()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert register(found, "CTRL").reads == 4000


def test_what_processes_saved_adds_up(kit_map):
    with coverage.collect() as one:
        device = devregs.mock(kit_map)
        device.CH[0].CTRL.read()
        device.CTRL.MODE = "FAST"
    with coverage.collect() as two:
        device = devregs.mock(kit_map)
        device.CH[1].CTRL.read()
        device.CTRL.MODE = "SLOW"
        devregs.mock("pl061").DIR.write(1)
    both = coverage.Coverage()
    for saved in (one.save(), two.save(), coverage.Coverage().save()):
        both.merge(saved)
    again = coverage.Coverage()
    again.merge(both.save())
    kit = next(item for item in again.maps if item.name == "kit")
    ctrl = next(item for item in kit.registers if item.path == "CH[].CTRL")
    assert (ctrl.reads, ctrl.elements_read) == (2, 2)
    assert kit.counts["values seen"] == (2, 3)
    assert [item.name for item in again.maps] == ["kit", "pl061"]


def test_fields_that_one_of_several_processes_touched_are_touched(kit_map):
    with coverage.collect() as one:
        assert devregs.mock(kit_map).CTRL.EN == 1
        devregs.mock(kit_map).CTRL.MODE = "FAST"
    with coverage.collect() as two:
        assert devregs.mock(kit_map).CTRL.COUNT == 0x8001
        devregs.mock(kit_map).CTRL.EN = 0
    for first, second in ((one, two), (two, one)):
        both = coverage.Coverage()
        both.merge(first.save())
        both.merge(second.save())
        assert fields(both, "CTRL", "read") == {"EN", "COUNT"}
        assert fields(both, "CTRL", "written") == {"EN", "MODE"}


def test_the_report(kit_map):
    with coverage.collect() as found:
        device = devregs.mock(kit_map)
        assert found.percent < 1
        device.CTRL.MODE = "FAST"
        text = str(found)
    counts = found.maps[0].counts
    assert counts["registers written"] == (1, 15)
    assert f"1 of {counts['fields written'][1]}" in text
    assert "values never seen     CTRL.MODE=SLOW, CTRL.MODE=TURBO" in text
    assert "fields never written  CTRL.EN, CTRL.COUNT" in text
    # Fields of registers that were never touched would say the same twice.
    assert "COMMAND.CODE" not in text
    assert "more" in text
    assert "more" not in found.report(full=True)
    report = json.loads(found.to_json())
    assert report["maps"][0]["percent"] == pytest.approx(found.percent, abs=0.01)
    assert report["maps"][0]["counts"]["values seen"] == [1, 3]


def test_nothing_opened():
    with coverage.collect() as found:
        pass
    assert str(found) == "no device was opened\n"
    assert found.percent == 100


def test_whole_coverage_is_100_percent_and_less_is_not(tmp_path):
    path = tmp_path / "block.toml"
    path.write_text(
        '[device]\nname = "block"\n[regions.r]\nsize = 0x1000\n[regions.r.registers.A]\noffset = 0\n'
        "[regions.r.registers.B]\noffset = 4\n"
    )
    with coverage.collect() as found:
        device = devregs.mock(path)
        device.A.read()
        device.A.write(0)
        device.B.read()
        assert found.percent == 75
        device.B.write(0)
    assert found.percent == 100
    assert "never" not in str(found)


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "devregs.coverage", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_script_from_the_command_line(tmp_path):
    (tmp_path / "beside.py").write_text("LINE = 3\n")
    (tmp_path / "script.py").write_text(
        "import sys, beside, devregs\n"
        "gpio = devregs.mock('pl061')\n"
        "gpio.DIR.write(beside.LINE)\n"
        "print(sys.argv, __name__)\n"
        "sys.exit(int(sys.argv[2]))\n"
    )
    done = run("--json", "cov.json", "script.py", "--full", "3", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == "['script.py', '--full', '3'] __main__\n"
    assert "pl061         0 of 18             1 of 9" in done.stderr
    assert json.loads((tmp_path / "cov.json").read_text())["maps"][0]["name"] == "pl061"


def test_a_script_that_fails_is_told_of_too(tmp_path):
    (tmp_path / "script.py").write_text(
        "import devregs\ndevregs.mock('pl061').DIR.write(1)\nraise KeyError('here')\n"
    )
    done = run("script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 9" in done.stderr
    assert done.stderr.endswith("KeyError: 'here'\n")
    done = run("none.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.py" in done.stderr
    assert "Traceback" not in done.stderr
