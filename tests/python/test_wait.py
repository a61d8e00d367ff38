"""Waiting for fields."""

from __future__ import annotations

import os
import signal
import threading
import time

import devregs
import pytest


def test_what_is_there_already_is_not_waited_for(kit):
    assert kit.CTRL.wait(EN=1, MODE="FAST", timeout=0) == 0x8001_0031


def test_a_change_made_by_another_thread_ends_the_wait(kit):
    """The wait lets other threads run: without that this one would never set the field."""
    timer = threading.Timer(0.05, lambda: setattr(kit.CTRL, "MODE", "TURBO"))
    timer.start()
    assert kit.CTRL.wait(MODE="TURBO", timeout=30) == 0x8001_0071
    timer.join()


def test_an_interval_between_reads(kit):
    timer = threading.Timer(0.05, lambda: setattr(kit.CTRL, "EN", 0))
    timer.start()
    kit.CTRL.wait({"EN": 0}, timeout=30, interval=0.001)
    timer.join()


def test_a_timeout_tells_what_was_read_last(kit):
    with pytest.raises(
        devregs.WaitTimeout, match=r"kit\.CTRL: .*0\.01 s.*0x80010031, with MODE=0x3"
    ) as raised:
        kit.CTRL.wait(MODE=7, timeout=0.01)
    assert isinstance(raised.value, TimeoutError)
    assert isinstance(raised.value, devregs.DevregsError)
    with pytest.raises(devregs.WaitTimeout):
        kit.CTRL.wait(MODE=7, timeout=0, interval=100)


@pytest.mark.parametrize("interval", [0, 0.3, 1000])
def test_a_wait_lasts_as_long_as_its_timeout(kit_map, interval):
    """Neither an interval nor the pauses without one carry it further."""
    with devregs.mock(kit_map, clock="virtual", access_time=0) as device:
        with pytest.raises(devregs.WaitTimeout):
            device.CTRL.wait(MODE=7, timeout=1, interval=interval)
        assert device.hw.time == 1


def test_a_long_interval_does_not_outlast_the_timeout(kit):
    begun = time.monotonic()
    with pytest.raises(devregs.WaitTimeout):
        kit.CTRL.wait(MODE=7, timeout=0.05, interval=1000)
    assert time.monotonic() - begun < 500


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"EN": 2}, devregs.MapError, "does not fit"),
        ({"NOPE": 2}, devregs.MapError, "no field"),
        ({"MODE": "NOPE"}, devregs.MapError, "none of its values"),
        ({}, TypeError, "needs a field"),
        ({"EN": 1, "timeout": -1}, devregs.MapError, "no time in seconds"),
        ({"EN": 1, "timeout": float("nan")}, devregs.MapError, "no time in seconds"),
        ({"EN": 1, "interval": -1}, devregs.MapError, "no time in seconds"),
        ({"EN": 1, "timeout": 1e300}, devregs.MapError, "no time in seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(kit, given, error, message):
    with pytest.raises(error, match=message):
        kit.CTRL.wait(**given)


def test_a_write_only_register_cannot_be_waited_for(kit):
    with pytest.raises(devregs.AccessError, match="write-only"):
        kit.COMMAND.wait(CODE=1, timeout=0)


@pytest.mark.parametrize("interval", [0, 1000])
def test_ctrl_c_ends_a_wait(kit, interval):
    # A background job of a shell starts with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            kit.CTRL.wait(MODE=7, interval=interval, timeout=60)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_handler_that_returns_lets_the_wait_go_on(kit):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(time.monotonic()))
    try:
        timers = [
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)),
            threading.Timer(0.3, lambda: setattr(kit.CTRL, "EN", 0)),
        ]
        for timer in timers:
            timer.start()
        kit.CTRL.wait(EN=0, timeout=30)
        for timer in timers:
            timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(seen) == 1


def test_closing_ends_a_wait(kit_map):
    device = devregs.mock(kit_map)
    timer = threading.Timer(0.05, device.close)
    timer.start()
    with pytest.raises(devregs.AccessError, match="closed"):
        device.CTRL.wait(EN=0, interval=0.001)
    timer.join()
