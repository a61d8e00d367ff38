"""The alarm of examples/rtc_alarm.py on the real clock, recorded: tests/recordings has one."""

from collections.abc import Callable
from pathlib import Path

import devregs
from rtc_alarm import wait_for_alarm

Answered = Callable[[str, str], None]
Keep = Callable[[str], None]


def test_alarm(tmp_path: Path, keep: Keep, answered: Answered) -> None:
    with devregs.open("pl031", "uio:labrtc") as rtc:
        with rtc.trace() as trace:
            assert wait_for_alarm(rtc, 1) == "the interrupt"
        trace.save(file := tmp_path / "rtc_alarm.jsonl")
        keep(file.read_text())
        answered(f"pl031 {rtc.source}", f"recorded an alarm: {len(trace)} accesses")
    with devregs.open("pl031", f"replay:{file}") as again:
        assert wait_for_alarm(again, 1) == "the interrupt"
