"""Names that Python or our own classes keep for themselves: reachable as an attribute all the same, and as a string."""

from __future__ import annotations

import keyword
import subprocess
import sys
from pathlib import Path

import devregs
import pytest
from devregs import _devregs
from devregs.hardware import Hardware, Part

HOLDERS = {
    "board": devregs.Board,
    "device": devregs.Device,
    "regions": devregs.Regions,
    "group": devregs.Group,
    "register": devregs.Register,
    "hw": Hardware,
    "hw[…]": Part,
}

MAP = """
[device]
name = "odd"
[regions.values]
size = 0x100
[regions.values.registers.trace]
offset = 0
fields.region = "3:0"
fields.read = 4
fields.read_ = 5
fields.class = 6
fields.__init__ = 7
fields.__mangled = 8
fields.push = 9
fields.plain = 10
[regions.values.registers.trace_]
offset = 4
[regions.values.registers.time]
offset = 8
[regions.values.groups.hw]
offset = 0x20
registers.path = { offset = 0, count = 2 }
registers.None = { offset = 8 }
[regions.class]
offset = 0x100
size = 4
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "odd.toml"
    path.write_text(MAP)
    return path


@pytest.fixture
def odd(path):
    with devregs.mock(path) as device:
        yield device


def special(name: str) -> bool:
    """Python's own, on any object; it has more of them in each version."""
    return name.startswith("__") and name.endswith("__")


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_list_of_names_taken_is_what_the_class_has(holder):
    taken = {name for name in dir(HOLDERS[holder]) if not special(name)}
    assert set(_devregs._attributes(holder)) == taken


@pytest.mark.parametrize("holder", HOLDERS)
def test_no_name_hides_what_every_such_object_has(holder):
    names = [*dir(HOLDERS[holder]), *keyword.kwlist, "plain", "_plain", "X_"]
    attributes = _devregs._attributes(holder, names)
    assert list(attributes.values()) == names
    assert not [name for name in attributes if hasattr(HOLDERS[holder], name)]
    assert not [name for name in attributes if keyword.iskeyword(name)]
    assert {name: attributes[name] for name in ("plain", "_plain", "X_")} == {
        name: name for name in ("plain", "_plain", "X_")
    }
    # Inside a class, Python changes names that begin with two underscores and end with fewer.
    assert not [name for name in attributes if name.startswith("__") and not name.endswith("___")]


def test_what_is_no_identifier_is_a_string_only():
    assert _devregs._attributes("register", ["1", "A-B", "ﬁ", "é", "²"]) == {"é": "é"}


def test_fields_registers_groups_and_regions_of_such_names(odd):
    register = odd.trace__
    assert register is odd["trace"]
    assert odd.trace_ is odd["trace_"]
    register.region_ = 5
    assert (register["region"], register.region_, odd["trace.region"]) == (5, 5, 5)
    assert register.region == odd.regions.values_
    register.read__ = 1
    assert (register["read"], register["read_"], register.read_) == (1, 0, 0)
    register.class_ = 1
    register.__init___ = 1
    register.__mangled___ = 1
    assert register.modify(plain=1, push=1) is None
    assert register.read() == 5 | 1 << 4 | 0b11111 << 6
    assert odd.hw_["path"] is odd["hw.path"] is odd.hw_.path_
    assert odd.hw_.path == "hw"
    assert odd.hw_.None_ is odd["hw.None"]
    assert odd.regions.class_ == odd.regions["class"]
    assert list(odd.regions) == ["values", "class"]


def test_dir_has_the_attributes(odd):
    assert {"trace_", "trace__", "hw_"} <= set(dir(odd))
    assert {"region_", "read__", "read_", "class_", "__init___", "plain"} <= set(dir(odd.trace__))
    assert {"path_", "None_"} <= set(dir(odd.hw_))
    assert {"values_", "class_"} <= set(dir(odd.regions))
    assert {"time_", "trace"} <= set(dir(odd.hw))
    assert {"push_", "region", "read__"} <= set(dir(odd.hw.trace))


def test_names_that_the_hardware_side_has(odd):
    odd.hw.trace.push_ = 1
    assert odd.hw.trace.push_ == odd["trace"]["push"] == 1
    odd.hw.trace.read__ = 1
    assert (odd["trace.read"], odd["trace.read_"]) == (1, 0)
    odd.hw.time_ = 7
    assert odd.time.read() == odd.hw.time_.read() == 7
    with pytest.raises(AttributeError, match="push belongs"):
        odd.hw.trace.push = 1


def test_check_warns_with_the_spelling(path):
    done = subprocess.run(
        [sys.executable, "-m", "devregs", "check", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    said = " ".join(done.stdout.split())
    for what, spelling in [
        ("trace.region is", "register.region_, and as a string: register"),
        ("trace.read is", "register.read__,"),
        ("trace.class is", "register.class_,"),
        ("trace.push is", "hw[…].push_,"),
        ("trace is", "device.trace__,"),
        ("time is", "hw.time_,"),
        ("hw.path is", "group.path_,"),
        ("values is", "regions.values_,"),
    ]:
        assert what in said
        assert spelling in said


def test_the_stub_has_the_attributes(path):
    done = subprocess.run(
        [sys.executable, "-m", "devregs", "stubs", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for line in ("    def region_(self)", "    def read__(self)", "    trace__: ", "    hw_: "):
        assert line in done.stdout


def test_devices_of_a_board_of_such_names(path):
    board = path.with_name("board.toml")
    lines = [
        f'[devices.{name}]\nmap = "odd.toml"\nsource = "mock:"\n'
        for name in ("close", "import", "keys_", "keys")
    ]
    board.write_text("".join(lines))
    with devregs.open_board(board) as made:
        assert made.close_ is made["close"]
        assert made.import_ is made["import"]
        assert made.keys__ is made["keys"]
        assert made.keys_ is made["keys_"]
        assert {"close_", "import_", "keys_", "keys__"} <= set(dir(made))
