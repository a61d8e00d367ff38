"""What print() and a notebook show of a register, and that looking changes nothing."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import devregs
import pytest
from devregs import _text, display

TIMER = Path(__file__).parent / "cli/timer.toml"


@pytest.fixture
def timer():
    with devregs.mock(TIMER) as device:
        yield device


def golden(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_a_register_in_full(timer):
    timer.CTRL.modify(EN=1, MODE="BURST")
    assert str(timer.CTRL) == golden("""
        CTRL  offset 0x0, 32 bits, rw, reset 0x10
          Global control
          0x0000_0051 = 81 = 0b0000_0000_0000_0000_0000_0000_0101_0001
          31    GO              wo  Starts a burst
          30:7  -
          6:4   MODE  5  BURST      How fast it counts
          3:1   -
          0     EN    1             Runs all channels
    """)


def test_effects_of_writing_are_said(timer):
    assert display.format_register(timer.INT) == golden("""
        INT  offset 0x8, 32 bits, rw
          Interrupts that are pending
          0x0000_0000 = 0 = 0b0000_0000_0000_0000_0000_0000_0000_0000
          31:10  -
          9:8    MASK  0
          7:2    -
          1      ERR   0  write: one-to-clear
          0      DONE  0  write: one-to-clear
    """)


def test_a_register_that_cannot_be_read(timer):
    assert display.format_register(timer.KICK) == golden("""
        KICK  offset 0x10, 32 bits, wo
          write-only
          31:8  -
          7:0   KEY  0x5a restarts the watchdog
    """)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("CLR", "reading clears it"), ("DATA", "reading takes a word from the FIFO")],
)
def test_a_register_whose_read_changes_something(timer, path, reason):
    assert f"\n  not read: {reason}" in str(timer[path])


def test_a_value_without_a_name_and_stray_bits(timer):
    text = display.format_value(timer.CTRL, 0x0000_0F2C)
    assert "6:4   MODE  2              How fast it counts" in text
    assert "30:7  -     30 (0x1e)" in text
    assert "3:1   -     6" in text


def test_format_value_touches_nothing_and_shows_write_only_values(timer):
    before = timer.CTRL.read()
    assert "0x0000_0000 = 0 " in display.format_value(timer.CTRL, 0)
    assert timer.CTRL.read() == before
    assert "0x0000_005a = 90 " in display.format_value(timer.KICK, 0x5A)
    with pytest.raises(devregs.MapError, match="does not fit"):
        display.format_value(timer.CTRL, 1 << 32)


class Counted:
    """A register that counts how often it is read."""

    def __init__(self, register: devregs.Register) -> None:
        self._register = register
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        return self._register.read()

    def __getattr__(self, name):
        return getattr(self._register, name)


def test_a_register_is_read_once_and_one_with_effects_never(timer):
    for show in (display.format_register, display.register_html):
        for path, reads in (("CTRL", 1), ("COUNT64", 1), ("KICK", 0), ("CLR", 0), ("DATA", 0)):
            register = Counted(timer[path])
            show(register)
            assert register.reads == reads, path


def test_a_dump_has_a_line_for_each_register(timer):
    lines = display.format_dump(timer).splitlines()
    assert lines[0] == "timer at mock:"
    assert lines[1] == "+0x0    CTRL              0x00000010          EN=0 MODE=FAST"
    assert lines[4] == "+0xc    CLR               -                   not read: reading clears it"
    assert lines[5] == "+0x10   KICK              -                   write-only"
    assert lines[6] == "+0x18   COUNT64           0x0000000000000000"
    # Four arrays of four like registers have a line each.
    assert len(lines) == 1 + sum(1 for _ in timer.registers()) - 4 * 3


def test_a_dump_of_a_part(timer):
    timer.CH[1].TRIM[3].write(7)
    assert display.format_dump(timer.CH[1]) == golden("""
        +0x120  CH[1].LOAD        0x00000000
        +0x124  CH[1].VALUE       0xffffffff
        +0x128  CH[1].TRIM[0..2]  0x00
        +0x12b  CH[1].TRIM[3]     0x07
    """)
    assert display.format_dump(timer.CH).count("LOAD") == 4
    assert display.format_dump(timer.CTRL) == "+0x0  CTRL  0x00000010  EN=0 MODE=FAST"


@pytest.fixture
def broken(tmp_path):
    """The timer over a file of which only the first page is left."""
    memory = tmp_path / "memory"
    memory.write_bytes(bytes(0x2010))
    with devregs.open(TIMER, memory, verify=False) as device:
        os.truncate(memory, 0x1000)
        yield device


def test_a_fault_is_raised_by_print_and_a_line_in_a_dump(broken):
    with pytest.raises(devregs.BusError):
        str(broken.ID)
    assert "bus error: timer.ID: the bus answered" in display.format_dump(broken)
    assert "bus error: timer.ID" in display.register_html(broken.ID)


def test_a_closed_device_says_so(timer):
    timer.close()
    with pytest.raises(devregs.AccessError, match="closed"):
        str(timer.CTRL)


def test_only_doc_texts_are_cut(timer):
    timer.CTRL.modify(EN=1)
    text = display.format_register(timer.CTRL, width=40)
    assert "0b0000_0000_0000_0000_0000_0000_0001_0001" in text
    assert "MODE  1  FAST      How fast it cou…" in text


def test_a_notebook_gets_escaped_html(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text(
        '[device]\nname = "web"\n[regions.regs]\nsize = 4\n'
        '[regions.regs.registers."<b>&"]\noffset = 0\ndoc = "<script>alert(1)</script>"\n'
        'fields."<i>" = { bits = 0, doc = "a & b" }\n'
    )
    with devregs.mock(path) as device:
        page = device["<b>&"]._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>&lt;b&gt;&amp;</b>" in page
    assert "<td style='text-align:left'>&lt;i&gt;</td>" in page
    assert "a &amp; b" in page


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text(
        '[device]\nname = "evil"\n[regions.regs]\nsize = 4\n'
        "[regions.regs.registers.R]\noffset = 0\n"
        'doc = "\\u001b[31mred\\u202eback\\u0007"\n'
        'fields.F = { bits = 0, doc = "one\\ntwo" }\n'
    )
    with devregs.mock(path) as device:
        shown = [str(device.R), device.R._repr_html_(), display.format_dump(device)]
    for text in shown:
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "\\x1b[31mred\\u202eback\\x07" in shown[0]
    assert "F  0  one two" in shown[0]


def test_columns_line_up_with_wide_characters():
    rows = [("日本", "a"), ("x", "b"), ("e\u0301", "c")]
    assert _text.columns(rows) == ["日本  a", "x     b", "e\u0301     c"]


def test_a_summary_is_the_first_paragraph():
    assert _text.summary("One\n  two.\n\nMore.") == "One two."
    assert _text.summary(None) == ""
    assert _text.cut("abcdef", 4) == "abc…"
