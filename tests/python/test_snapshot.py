"""Snapshots: what is read, how they are compared, kept in files, and written back."""

from __future__ import annotations

import json
import os
import random
from datetime import datetime, timedelta

import devregs
import pytest
from devregs import Snapshot

# taking one


def test_a_snapshot_is_a_mapping_of_what_was_there(kit):
    kit.CH[2].DATA[1].write(7)
    taken = kit.snapshot()
    kit.CTRL.write(0)
    kit.close()
    assert taken["CTRL"] == 0x8001_0031
    assert (taken["CTRL.EN"], taken["CTRL.COUNT"]) == (1, 0x8001)
    assert taken["CTRL.MODE"] == 3
    assert taken["CTRL.MODE"].name == "FAST"
    assert taken["CH[2].DATA[1]"] == 7
    assert "CTRL" in taken
    assert len(taken) == len(list(taken))
    assert (taken.name, taken.source) == ("kit", kit.source)
    age = datetime.now().astimezone() - datetime.fromisoformat(taken.time)
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)
    assert taken.time.endswith("Z")


def test_every_register_is_there_or_says_why_not(kit):
    taken = kit.snapshot()
    assert set(taken) | set(taken.skipped) == {register.path for register in kit.registers()}
    assert taken.skipped == {
        "COMMAND": "write-only",
        "ACK": "write-only",
        "POP": "not read: reading takes a word from the FIFO",
        "MIXED": "not read: reading clears it (EVENT)",
    }
    assert taken.errors == {}
    for path, reason in taken.skipped.items():
        assert path not in taken
        with pytest.raises(KeyError, match="no value in the snapshot") as raised:
            taken[path]
        assert reason in str(raised.value)


def test_nothing_in_it_can_be_changed(kit):
    taken = kit.snapshot()
    with pytest.raises(TypeError):
        taken["CTRL"] = 1
    with pytest.raises(TypeError):
        taken.skipped["CTRL"] = ""
    with pytest.raises(AttributeError):
        taken.time = ""


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("CTLR", "did you mean CTRL"),
        ("CTRL.MODEX", "has no field 'MODEX'; did you mean MODE"),
        ("CH[8].CTRL", "has no 'CH"),
    ],
)
def test_a_path_that_is_not_there(kit, path, message):
    taken = kit.snapshot()
    assert path not in taken
    with pytest.raises(KeyError, match=message.replace("[", "\\[")):
        taken[path]


def test_a_part_is_chosen_by_names_and_patterns(kit):
    assert list(kit.snapshot(only="CH[2].CTRL")) == ["CH[2].CTRL"]
    assert list(kit.snapshot(only=["CH[2]", "CTRL"])) == [
        "CTRL",
        "CH[2].CTRL",
        "CH[2].DATA[0]",
        "CH[2].DATA[1]",
        "CH[2].DMA.ADDR",
    ]
    assert list(kit.snapshot(only="CH[*].CTRL")) == [f"CH[{at}].CTRL" for at in range(8)]
    assert list(kit.snapshot(only="SMALL[?]")) == [f"SMALL[{at}]" for at in range(4)]
    # Even by name, what a read would change is not read.
    assert list(kit.snapshot(only="POP")) == []
    with pytest.raises(devregs.MapError, match="'CTLR' names nothing here; did you mean CTRL"):
        kit.snapshot(only=["STATUS", "CTLR"])


def test_the_order_is_that_of_addresses_where_arrays_are_woven(tmp_path):
    path = tmp_path / "woven.toml"
    path.write_text(
        '[device]\nname = "woven"\n[regions.regs]\nsize = 0x20\n'
        "registers.A = { offset = 0, count = 2, stride = 8 }\n"
        "registers.B = { offset = 4, count = 2, stride = 8 }\n"
    )
    with devregs.mock(path) as device:
        assert list(device.snapshot()) == ["A[0]", "B[0]", "A[1]", "B[1]"]


def test_a_fault_is_kept_and_the_others_follow(kit_map, memory):
    with devregs.open(kit_map, memory) as device:
        os.truncate(memory, 0x1000)
        taken = device.snapshot()
    assert set(taken.errors) == {"ID"}
    assert taken.errors["ID"].startswith("bus error: kit.ID: the bus answered a 32-bit read")
    assert "CTRL" in taken
    assert "ID" not in taken.skipped
    assert "bus error" in str(taken)


def test_a_closed_device_says_so(kit):
    kit.close()
    with pytest.raises(devregs.AccessError, match="closed"):
        kit.snapshot()


def test_what_this_machine_cannot_read_is_skipped(kit, monkeypatch):
    """64 bits without a split, where a machine has no such access."""
    from devregs import snapshot

    real = snapshot.look_safely

    def look(register):
        if register.path == "BIG":
            raise devregs.AccessError("kit.BIG: this machine has no single access of 64 bits")
        return real(register)

    monkeypatch.setattr(snapshot, "look_safely", look)
    assert "no single access of 64 bits" in kit.snapshot().skipped["BIG"]


def test_print_shows_it_decoded(kit):
    lines = str(kit.snapshot(only=["CTRL", "SMALL", "ACK"])).splitlines()
    assert lines[0].startswith(f"kit at {kit.source}, 20")
    assert lines[1:] == [
        "+0x0   CTRL         0x80010031  EN=1 MODE=FAST COUNT=0x8001",
        "+0xc   ACK          -           write-only",
        "+0x34  SMALL[0..3]  0x00",
    ]
    assert repr(kit.snapshot()).startswith("<devregs.Snapshot of kit at ")


# comparing


def test_what_changed_is_decoded(kit):
    before = kit.snapshot()
    kit.CTRL.modify(EN=0, MODE="SLOW")
    kit.CH[2].DATA[1].write(7)
    changes = before.diff(kit.snapshot())
    assert str(changes).splitlines() == [
        "CTRL           0x80010031 -> 0x80010000  EN 1 -> 0, MODE FAST -> SLOW",
        "CH[2].DATA[1]  0x0 -> 0x7",
    ]
    assert [change.path for change in changes] == ["CTRL", "CH[2].DATA[1]"]
    enabled, mode = changes[0].fields
    assert enabled == ("EN", 1, 0)
    assert (mode.before.name, mode.after.name) == ("FAST", "SLOW")
    assert (changes[1].before, changes[1].after) == (0, 7)


def test_nothing_changed_is_false(kit):
    before = kit.snapshot()
    changes = before.diff(kit.snapshot())
    assert not changes
    assert str(changes) == "no changes"


def test_bits_in_no_field_count_too(kit_map, memory):
    with devregs.open(kit_map, memory) as device:
        before = device.snapshot()
        device.CTRL.write(0x6)
        (change,) = before.diff(device.snapshot())
    assert change.fields == ()
    assert change.note == "other bits 0x0 -> 0x6"


def test_what_changes_by_itself_can_be_ignored(kit):
    before = kit.snapshot()
    kit.CTRL.modify(EN=0, COUNT=5)
    kit.CH[1].DATA[0].write(1)
    kit.CH[2].CTRL.write(1)
    after = kit.snapshot()

    def changed(*ignore: str) -> list[str]:
        return [change.path for change in before.diff(after, ignore=ignore)]

    assert changed() == ["CTRL", "CH[1].DATA[0]", "CH[2].CTRL"]
    assert changed("CTRL") == ["CH[1].DATA[0]", "CH[2].CTRL"]
    assert changed("CH") == ["CTRL"]
    assert changed("CH[1]", "*.CTRL") == ["CTRL"]
    assert changed("CTRL.EN", "CTRL.COUNT", "CH") == []
    (change,) = before.diff(after, ignore=["CTRL.COUNT", "CH"])
    assert [field.name for field in change.fields] == ["EN"]
    with pytest.raises(devregs.MapError, match=r"'CTRL.CONT' names nothing here; did you mean"):
        before.diff(after, ignore="CTRL.CONT")


def test_registers_in_one_only_are_shown(kit):
    part, whole = kit.snapshot(only=["CTRL", "STATUS"]), kit.snapshot(only=["CTRL", "KICK", "BIG"])
    assert [(change.path, change.note) for change in part.diff(whole)] == [
        ("STATUS", "only in the first"),
        ("KICK", "only in the second"),
        ("BIG", "only in the second"),
    ]
    assert "KICK    - -> 0x0  only in the second" in str(part.diff(whole))


def test_a_fault_is_a_change(kit_map, memory):
    with devregs.open(kit_map, memory) as device:
        before = device.snapshot()
        os.truncate(memory, 0x1000)
        after = device.snapshot()
    (change,) = before.diff(after)
    assert (change.path, change.before, change.after) == ("ID", 0x61, None)
    assert change.note.startswith("bus error")


def test_other_devices_are_not_compared(kit):
    with (
        devregs.mock("pl061") as gpio,
        pytest.raises(devregs.MapError, match="of kit and one of pl061"),
    ):
        kit.snapshot().diff(gpio.snapshot())
    with pytest.raises(TypeError, match="dict"):
        kit.snapshot().diff({})


# files


def test_a_file_holds_all_of_it(kit, tmp_path):
    taken = kit.snapshot()
    taken.save(tmp_path / "one.json")
    loaded = Snapshot.load(tmp_path / "one.json")
    assert str(loaded) == str(taken)
    assert loaded == taken
    assert (loaded.skipped, loaded.time, loaded.map.origin) == (
        taken.skipped,
        taken.time,
        kit.map.origin,
    )
    assert not taken.diff(loaded)
    assert repr(loaded["CTRL.MODE"]) == repr(taken["CTRL.MODE"])
    part = kit.snapshot(only=["CH[1]"])
    part.save(tmp_path / "two.json")
    assert Snapshot.load(tmp_path / "two.json", kit.map).only == ("CH[1]",)


def test_a_file_is_for_people_too(kit, tmp_path):
    kit.snapshot().save(tmp_path / "one.json")
    data = json.loads((tmp_path / "one.json").read_text())
    assert (data["format"], data["version"], data["map"]) == ("devregs-snapshot", 1, "kit")
    assert data["registers"]["CTRL"] == {
        "width": 32,
        "value": "0x80010031",
        "fields": {"EN": 1, "MODE": "FAST", "COUNT": 0x8001},
    }
    assert data["registers"]["ACK"] == {"width": 32, "skipped": "write-only"}
    lines = (tmp_path / "one.json").read_text().splitlines()
    assert sum('"CTRL":' in line and '"MODE": "FAST"' in line for line in lines) == 1


@pytest.mark.parametrize("name", devregs.builtin_maps())
def test_every_map_of_the_library_is_kept_whole(name, tmp_path):
    with devregs.mock(name) as device:
        taken = device.snapshot()
        assert set(taken) | set(taken.skipped) == {register.path for register in device.registers()}
    taken.save(tmp_path / "one.json")
    loaded = Snapshot.load(tmp_path / "one.json")
    assert str(loaded) == str(taken)


@pytest.fixture
def saved(kit_map, tmp_path):
    """A snapshot's file, and how to load it with a text of it replaced."""
    path = tmp_path / "saved.json"
    with devregs.mock(kit_map) as device:
        device.snapshot(only=["CTRL", "SMALL", "ACK"]).save(path)

    def load(old: str, new: str, map: object = None) -> Snapshot:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return Snapshot.load(path, map)

    return load


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version"', "version", r"saved.json:3:3: this is no JSON"),
        ("devregs-snapshot", "snapshot", r"saved.json: this is no snapshot: \"format\""),
        ('"version": 1', '"version": 2', r"saved.json: version: this devregs reads version 1.* 2"),
        ('"map": "kit",', "", r"saved.json: 'map' is missing"),
        ('"source"', '"sauce"', r"saved.json: there is no key \"sauce\""),
        ('"time": "2', '"time": "x', r"saved.json: time: .*is no time"),
        ('"width": 32', '"width": 16', r"registers.CTRL.width: 16, and the register has 32"),
        ('"0x80010031"', '"0x180010031"', r"registers.CTRL.value: .*no number of 32 bits"),
        ('"0x80010031"', '"-1"', r"registers.CTRL.value"),
        ('"0x80010031"', '"lots"', r"registers.CTRL.value: \"lots\" is no number"),
        ('"0x80010031"', "5", r"registers.CTRL.value: 5 is no number"),
        ('"EN": 1', '"EN": 0', r"registers.CTRL.fields.EN: 0, but the value 0x80010031 has 1"),
        ('"FAST"', '"SLOW"', r"registers.CTRL.fields.MODE: \"SLOW\", but .* has \"FAST\" there"),
        ('"EN": 1', '"ON": 1', r"registers.CTRL.fields: CTRL has no field \"ON\""),
        ('"skipped": "write-only"', '"skipped": 1', r"registers.ACK.skipped"),
        ('"skipped": "write-only"', '"value": "0", "skipped": ""', r"registers.ACK: one of"),
        ('"CTRL": {', '"CTLR": {', r"registers.CTLR: the map kit has no such register: .*CTRL"),
        ('"SMALL[1]"', '"SMALL[4]"', r"registers.SMALL\[4\]: .* from 0 to 3"),
        ('"SMALL[1]"', '"SMALL[0x1]"', r"SMALL\[0x1\]: the map kit writes it 'SMALL\[1\]'"),
        ('"SMALL[1]"', '"SMALL[0]"', r"'SMALL\[0\]' is there twice"),
        ('"registers": {', '"registers": [], "x": {', r"there is no key \"x\""),
        ('"SMALL[1]": {', '"SMALL[1]": [], "SMALL[1]x": {', r"SMALL\[1\]: an object is needed"),
    ],
)
def test_a_damaged_file_says_where(saved, old, new, message):
    with pytest.raises(devregs.MapError, match=message):
        saved(old, new)


@pytest.mark.parametrize("content", [b"\xff", b"", b"[]", b"[" * 100_000, b"9" * 5000, b"\0"])
def test_what_is_no_snapshot(tmp_path, content):
    (tmp_path / "no.json").write_bytes(content)
    with pytest.raises(devregs.MapError, match=r"no\.json"):
        Snapshot.load(tmp_path / "no.json")


def test_a_file_damaged_anywhere_is_a_map_error_or_a_snapshot(kit_map, tmp_path):
    path = tmp_path / "damaged.json"
    with devregs.mock(kit_map) as device:
        device.snapshot(only=["CTRL", "SMALL", "ACK"]).save(path)
    content = path.read_bytes()
    chance = random.Random(1)
    refused = []
    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randint(0, 2)] = chance.choice(
                (b"", b"\xff", b"9", b'"', b"{")
            )
        path.write_bytes(damaged)
        try:
            assert str(Snapshot.load(path, kit_map))
        except devregs.MapError as error:
            refused.append(str(error))
    assert len(refused) > 1000
    assert all("damaged.json" in text for text in refused)


def test_the_fields_may_be_left_out_of_a_file(saved):
    assert saved(', "fields": {"EN": 1, "MODE": "FAST", "COUNT": 32769}', "")["CTRL.EN"] == 1


def test_the_map_of_a_file_is_the_one_it_was_taken_with(saved, kit_map, tmp_path):
    origin = json.dumps(kit_map.origin)
    assert saved("2", "2").map.origin == kit_map.origin
    with pytest.raises(devregs.MapError, match=r"of the map kit \(gone.toml\), which is not there"):
        saved(origin, '"gone.toml"')
    assert saved("gone", "away", kit_map)["CTRL.EN"] == 1
    with pytest.raises(devregs.MapError, match=r"a snapshot of kit, and the map is pl061"):
        saved("away", "away", "pl061")
    with pytest.raises(FileNotFoundError):
        Snapshot.load(tmp_path / "nothing.json")


def test_registers_of_these_names_are_reached_by_strings(tmp_path):
    path = tmp_path / "names.toml"
    path.write_text(
        '[device]\nname = "names"\n[regions.regs]\nsize = 8\n'
        "registers.snapshot = { offset = 0 }\nregisters.restore = { offset = 4 }\n"
    )
    assert len(devregs.load(path).warnings) == 2
    with devregs.mock(path) as device:
        device["restore"].write(5)
        assert device.snapshot()["restore"] == 5


def test_a_map_describes_its_registers(kit_map):
    said = kit_map.describe("CH[3].DATA[1]")
    assert (said["path"], said["region"], said["offset"]) == ("CH[3].DATA[1]", "regs", 0x168)
    assert (said["width"], said["access"], said["fields"]) == (32, "rw", ())
    assert [field.name for field in kit_map.describe("CH[7].CTRL")["fields"]] == ["EN"]
    assert kit_map.describe("POP")["fifo"] == 16
    for path in ("CH[8].CTRL", "CTLR", "CTRL.EN", "CH"):
        with pytest.raises(devregs.MapError):
            kit_map.describe(path)
