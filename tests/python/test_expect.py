"""The accesses that a test expects: which steps can be, and which accesses they fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import devregs
import pytest
from devregs.testing import ExpectationError, anything, expect, read, write
from hypothesis import given
from hypothesis import strategies as st
from test_properties import quick

MAP = """
[device]
name = "m"
[regions.r]
size = 0x100
[regions.r.registers]
CTRL = { offset = 0 }
IM = { offset = 4, reset = 0xf0, fields = { A = 0, B = "7:4" } }
CH = { offset = 8, count = 4 }
CMD = { offset = 0x20, fields.STATE = { bits = "1:0", values = { IDLE = 0, BUSY = 1 }, write-values = { GO = 1 } } }
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    def make() -> Any:
        path = tmp_path / "m.toml"
        path.write_text(MAP, encoding="utf-8")
        return devregs.mock(path)

    return make


def test_a_value_and_fields_are_both_wanted(make):
    """Of bits that neither of them names nothing is wanted, whatever their reset value."""
    dev = make()
    with expect(dev, write("IM", 0x01, A=1), read("IM", 0x01, A=1)):
        dev.IM.write(0x01)
        dev.IM.read()
    wrong = pytest.raises(devregs.MapError, match=r"m\.IM: 0x1 does not have the fields .*'B': 2")
    with wrong, expect(dev, write("IM", 0x01, B=2)):
        pass


def test_values_have_the_names_of_what_is_read_or_written(make):
    dev = make()
    with expect(dev, write("CMD", STATE="GO"), read("CMD", STATE="BUSY")):
        dev.CMD.write(1)
        dev.CMD.read()
    with pytest.raises(devregs.MapError, match="BUSY"), expect(dev, write("CMD", STATE="BUSY")):
        pass


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (
            lambda: read("IM", returns=1 << 32),
            devregs.MapError,
            r"IM: returns: 0x100000000 does not fit 32",
        ),
        (lambda: read("IM", returns=-1), devregs.MapError, "IM: returns: -0x1 does not fit"),
        (
            lambda: read("IM", returns="one"),
            TypeError,
            "IM: returns: an integer is needed, not 'one'",
        ),
        (lambda: write("IM", 1.5), TypeError, r"IM: an integer is needed, not 1\.5"),
        (lambda: read("IM").times(1.5), TypeError, r"times: a count is an integer, not 1\.5"),
        (lambda: read("IM").times(-1), devregs.MapError, "times: at least -1"),
        (lambda: read("IM").times(2**63), devregs.MapError, "is no count"),
    ],
)
def test_steps_that_cannot_be(make, step, error, message):
    with pytest.raises(error, match=message), expect(make(), step()):
        pass


def test_a_read_that_failed_has_no_value(make):
    dev = make()
    dev.hw.IM.fail()
    with pytest.raises(devregs.BusError), expect(dev, read("IM")):
        dev.IM.read()
    with pytest.raises(ExpectationError, match="IM  failed: signal 7"), expect(dev, read("IM", 0)):
        dev.IM.read()


def test_many_accesses_that_fit_several_steps(make):
    """They once were remembered one by one, for each step, so that some thousands took minutes."""
    dev = make()
    with expect(dev, read("IM").times(0, None), anything(), read("IM").times(3, None)):
        for _ in range(20_000):
            dev.IM.read()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc."), st.integers(0, 2), st.sampled_from([None, 0, 1, 2]))
    ),
    made=st.text("abc", max_size=8),
)
@quick(300)
def test_steps_against_regular_expressions(steps, made):
    names = {"a": "CTRL", "b": "IM", "c": "CH[1]"}
    with TemporaryDirectory() as folder:
        path = Path(folder, "m.toml")
        path.write_text(MAP)
        dev = devregs.mock(path)
    pattern, expected = "", []
    for letter, least, more in steps:
        most = None if more is None else least + more
        pattern += f"{letter}{{{least},{'' if most is None else most}}}"
        step = anything() if letter == "." else read(names[letter])
        expected.append(step.times(least, most))
    try:
        with expect(dev, *expected):
            for letter in made:
                dev[names[letter]].read()
        done = True
    except ExpectationError:
        done = False
    assert done == bool(re.fullmatch(pattern, made))
