"""What a mock does by itself: rules, time, interrupts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devregs
import pytest

MAP = """
[device]
name = "m"
[regions.r]
size = 0x100
[regions.r.registers]
CTRL = { offset = 0, fields = { START = 0, MODE = { bits = "3:2", values = { SLOW = 0, FAST = 3 } } } }
ST = { offset = 4, access = "ro", fields = { READY = 0, ERR = { bits = 1 }, N = "15:8" } }
IM = { offset = 8 }
DATA = { offset = 12, fifo = 2 }
CH = { offset = 0x20, count = 4 }
MIRROR = { offset = 0x40, count = 4, access = "ro" }
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """A mock of the map with these rules, by a clock that stands still."""

    def make(rules: str = "", clock: Any = "virtual", **options: Any) -> Any:
        path = tmp_path / "m.toml"
        path.write_text(MAP + rules, encoding="utf-8")
        return devregs.mock(path, clock=clock, access_time=0, **options)

    return make


def test_a_rule_after_reads(make):
    """So many reads still see what was there before."""
    dev = make(
        '[[behaviour]]\non-write = "CTRL.START=1"\nafter-reads = 3\nset = { "ST.READY" = 1 }\n'
    )
    assert dev.ST.READY == 0
    dev.CTRL.START = 0
    assert [dev.ST.READY for _ in range(4)] == [0] * 4
    dev.CTRL.START = 1
    assert [dev.ST.READY for _ in range(5)] == [0, 0, 0, 1, 1]


def test_a_rule_after_a_time(make):
    dev = make('[[behaviour]]\non-write = "CTRL.START=1"\nafter = 2e-3\nset = { "ST.READY" = 1 }\n')
    dev.CTRL.START = 1
    dev.hw.advance(0.001_999)
    assert dev.ST.READY == 0
    dev.hw.advance(0.000_001)
    assert (dev.ST.READY, dev.hw.time) == (1, 0.002)


def test_the_real_clock(make):
    dev = make(
        '[[behaviour]]\non-write = "CTRL.START=1"\nafter = 0.02\nset = { "ST.READY" = 1 }\n',
        clock="real",
    )
    before = time.monotonic()
    dev.CTRL.START = 1
    dev.ST.wait(READY=1, timeout=10)
    assert time.monotonic() - before >= 0.02
    dev.CTRL.START = 1
    dev.hw.ST.READY = 0
    dev.hw.advance(0.02)
    assert dev.ST.READY == 1


def test_waits_take_no_time_by_the_virtual_clock(make):
    dev = make('[[behaviour]]\non-write = "CTRL.START=1"\nafter = 3600\nset = { "ST.READY" = 1 }\n')
    dev.CTRL.START = 1
    dev.ST.wait(READY=1, timeout=4000)
    assert dev.hw.time == 3600  # stops where the rule acts
    dev.hw.ST.READY = 0
    dev.CTRL.START = 1
    dev.ST.wait(READY=1, timeout=4000, interval=0.1)
    assert 7200 <= dev.hw.time < 7201
    with pytest.raises(devregs.WaitTimeout, match="nothing after 10 s"):
        dev.ST.wait(READY=0, timeout=10)
    assert dev.hw.time < 7212
    with pytest.raises(devregs.WaitTimeout, match="nothing after 100000 s"):
        dev.ST.wait(READY=0, timeout=100_000, interval=1)
    assert dev.hw.time == pytest.approx(107_210, abs=2)


def test_each_access_takes_its_time_by_the_virtual_clock(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text(
        MAP + '[[behaviour]]\non-write = "CTRL"\nafter = 1e-3\nset = { "ST.READY" = 1 }\n'
    )
    dev = devregs.mock(path, clock="virtual", access_time=1e-5)
    dev.CTRL.write(1)
    polls = 0
    while not dev.ST.READY:
        polls += 1
    assert polls == 99
    with pytest.raises(TypeError, match='"real" or "virtual", not "stopped"'):
        devregs.mock(path, clock="stopped")
    with pytest.raises(devregs.MapError, match="access_time"):
        devregs.mock(path, access_time=-1)


def test_what_is_assigned_is_always_so(make):
    dev = make(
        '[[behaviour]]\nassign = { "ST.N" = "CTRL & IM" }\n'
        '[[behaviour]]\nassign = { "MIRROR[*]" = "CH[*] + index" }\n'
    )
    dev.CTRL.write(0x6)
    dev.IM.write(0x3)
    assert (dev.ST.N, dev.hw.ST.N) == (2, 2)
    dev.hw.IM.write(0xFF)
    assert dev.ST.read() == 0x600
    dev.CH[2].write(40)
    assert [mirror.read() for mirror in dev.MIRROR] == [0, 1, 42, 3]
    dev.hw.CH[2] = 50
    assert dev.MIRROR[2].read() == 52


def test_conditions_and_what_was_written(make):
    dev = make(
        '[[behaviour]]\non-write = "CTRL.MODE"\nif = "written != old"\nset = { IM = "old << 4 | written" }\n'
        '[[behaviour]]\non-read = "CH[*]"\nif = "old > 9"\nset = { "CH[*]" = "old - 1" }\n'
    )
    dev.CTRL.MODE = "FAST"
    assert dev.IM.read() == 3
    dev.CTRL.MODE = "FAST"
    dev.CTRL.MODE = "SLOW"
    assert dev.IM.read() == 0x30
    dev.CH[1].write(11)
    assert [dev.CH[1].read() for _ in range(4)] == [11, 10, 9, 9]


def test_rules_push_reset_and_come_in_their_order(make):
    dev = make(
        '[[behaviour]]\non-write = "DATA"\npush = { DATA = "written + 1" }\n'
        '[[behaviour]]\non-write = "CTRL"\nset = { IM = "IM + 1" }\n'
        '[[behaviour]]\non-write = "CTRL"\nset = { IM = "IM * 10" }\n'
        '[[behaviour]]\non-write = "CH[0]"\nreset = true\n'
    )
    dev.DATA.write(4)
    assert dev.DATA.read() == 5
    dev.CTRL.write(0)
    dev.CTRL.write(0)
    assert dev.IM.read() == 110
    dev.CH[0].write(1)
    assert (dev.IM.read(), dev.CH[0].read(), dev.hw.DATA.sent) == (0, 0, 0)


def test_a_rule_every_second(make):
    dev = make('[[behaviour]]\nevery = 1\nset = { "CH[1]" = "CH[1] + 1" }\n')
    dev.hw.advance(10.5)
    assert dev.CH[1].read() == 10
    dev.hw.advance(0.5)
    assert dev.CH[1].read() == 11
    dev.hw.reset()
    dev.hw.advance(1)
    assert dev.CH[1].read() == 1


@pytest.mark.parametrize(
    ("access_time", "counts"),
    [(0.4, [0, 0, 1, 1, 2, 2, 2, 3, 3, 4]), (2.5, [2, 5, 7, 10])],
)
def test_a_period_does_not_drift(tmp_path, access_time, counts):
    """However late somebody looks: the next time follows from the last one, not from the look."""
    path = tmp_path / "m.toml"
    path.write_text(MAP + '[[behaviour]]\nevery = 1\nset = { "CH[1]" = "CH[1] + 1" }\n')
    dev = devregs.mock(path, clock="virtual", access_time=access_time)
    assert [dev.CH[1].read() for _ in counts] == counts


@pytest.mark.parametrize("when", ["after = 1", "after-reads = 2"])
def test_a_reset_forgets_what_was_to_come(make, when):
    dev = make(f'[[behaviour]]\non-write = "CTRL.START=1"\n{when}\nset = {{ "ST.READY" = 1 }}\n')
    dev.CTRL.START = 1
    dev.hw.reset()
    dev.hw.advance(2)
    assert [dev.ST.READY for _ in range(4)] == [0] * 4
    dev.CTRL.START = 1
    dev.hw.advance(1)
    assert [dev.ST.READY for _ in range(4)][-1] == 1


def test_a_reset_empties_a_fifo_whatever_had_left_it(make):
    dev = make('[[behaviour]]\non-write = "CTRL.START=1"\nsend = "DATA"\n')
    dev.DATA.write(1)
    dev.DATA.write(2)
    dev.CTRL.START = 1
    dev.hw.reset()
    for word in (3, 4, 5):
        dev.DATA.write(word)
    assert [dev.hw.DATA.pop() for _ in range(dev.hw.DATA.sent)] == [3, 4]


def test_rules_that_a_test_adds(make):
    dev = make()
    dev.hw.rule(on_write="CTRL.START=1", after=0.25, set={"ST.READY": 1, "ST.N": "IM + 1"})
    dev.hw.rule('[[behaviour]]\nassign = { "MIRROR[0]" = "ST" }\n')
    dev.hw.rule(if_="CTRL.START", on_read="CH[3]", interrupt=True)
    dev.IM.write(6)
    dev.CTRL.START = 1
    dev.hw.advance(0.25)
    assert (dev.MIRROR[0].read(), dev.ST.N) == (0x701, 7)
    dev.CH[3].read()
    assert dev.irq.wait(timeout=0) == 1
    with pytest.raises(devregs.MapError, match=r'(?s)rule\(\):2:\d+: .*did you mean "CTRL"'):
        dev.hw.rule(on_write="CTLR", reset=True)
    with pytest.raises(devregs.MapError, match="on-writes"):
        dev.hw.rule(on_writes="CTRL", reset=True)


def test_rules_of_tests_that_ask_for_each_other_end(make):
    dev = make()
    dev.hw.rule(assign={"MIRROR[0]": "MIRROR[1] + 1"})
    dev.hw.rule(assign={"MIRROR[1]": "MIRROR[0] + 1"})
    dev.MIRROR[0].read()


# interrupts


def test_an_interrupt_of_the_test(make):
    dev = make(clock="real")
    assert dev.irq
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=0)
    dev.hw.interrupt()
    assert (dev.irq.wait(timeout=0), dev.irq.count) == (1, 1)
    # Masked by its own event until the next wait enables it: then it comes.
    dev.hw.interrupt()
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=0, rearm=False)
    assert (dev.irq.wait(timeout=0), dev.irq.count) == (1, 2)
    timer = threading.Timer(0.05, dev.hw.interrupt)
    timer.start()
    assert dev.irq.wait(timeout=10) == 1
    timer.join()
    dev.close()
    with pytest.raises(devregs.AccessError, match="closed"):
        dev.irq.wait(timeout=0)


def test_events_that_nobody_waited_for_are_told_as_missed(make):
    dev = make()
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=0)
    for _ in range(3):
        dev.hw.interrupt()
        dev.irq.enable()
    assert (dev.irq.wait(timeout=0), dev.irq.count, dev.irq.missed) == (3, 3, 2)
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=0)


def test_an_event_while_the_interrupt_is_disabled_comes_when_it_is_enabled(make):
    dev = make('[[behaviour]]\ninterrupt = "ST & IM"\n')
    dev.IM.write(1)
    for cause in (dev.hw.interrupt, lambda: dev.hw.ST.write(1)):
        dev.irq.disable()
        cause()
        with pytest.raises(devregs.WaitTimeout):
            dev.irq.wait(timeout=0, rearm=False)
        dev.irq.enable()
        assert dev.irq.wait(timeout=0, rearm=False) == 1
        with pytest.raises(devregs.WaitTimeout):
            dev.irq.wait(timeout=0, rearm=False)


def test_a_level_that_is_not_acknowledged_comes_again(make):
    dev = make('[[behaviour]]\ninterrupt = "ST & IM"\n')
    dev.hw.ST.READY = 1
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=1)
    dev.IM.write(1)
    assert [dev.irq.wait(timeout=1) for _ in range(3)] == [1, 1, 1]
    dev.hw.ST.READY = 0
    with pytest.raises(devregs.WaitTimeout):
        dev.irq.wait(timeout=1)
    assert dev.hw.time == 2
    dev.irq.disable()
    dev.hw.ST.READY = 1
    dev.irq.enable()
    assert dev.irq.wait(timeout=0, rearm=False) == 1


def test_an_interrupt_that_time_brings(make):
    rules = '[[behaviour]]\non-write = "CTRL.START=1"\nafter = {}\ninterrupt = true\n'
    dev = make(rules.format(500))
    dev.CTRL.START = 1
    assert (dev.irq.wait(timeout=1000), dev.hw.time) == (1, 500)
    dev = make(rules.format("0.05"), clock="real")
    dev.CTRL.START = 1
    assert dev.irq.wait(timeout=10) == 1


def test_an_interrupt_in_asyncio(make):
    dev = make(
        '[[behaviour]]\non-write = "CTRL.START=1"\nafter = 0.03\ninterrupt = true\n', clock="real"
    )

    async def events() -> list[int]:
        dev.CTRL.START = 1
        got = []
        async for count in dev.irq:
            got.append(count)
            if len(got) == 3:
                break
            dev.CTRL.START = 1
        return got

    assert asyncio.run(asyncio.wait_for(events(), 10)) == [1, 1, 1]
