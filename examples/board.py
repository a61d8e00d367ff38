"""Use the devices of a board together: show the seconds of its clock on its LEDs.

The board map says what there is and where; see board.toml beside this script, whose devices are
mocks. Copy it and put in your sources.

    python board.py
    python board.py --board myboard.toml --seconds 60
"""

import argparse
import time
from pathlib import Path

import devregs


def start_timer(timer: devregs.Device) -> None:
    """Let timer 0 count up from 0, for ever."""
    timer.TLR0.write(0)
    timer.TCSR0.write(timer.TCSR0.encode(LOAD0=1))
    timer.TCSR0.write(timer.TCSR0.encode(ENT0=1, ARHT0=1, UDT0="UP"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a board's clock on its LEDs.")
    parser.add_argument("--board", type=Path, default=Path(__file__).with_name("board.toml"))
    parser.add_argument("--seconds", type=float, default=1)
    options = parser.parse_args()
    with devregs.open_board(options.board) as board:
        for device in board.values():
            print(f"{device.name:12} {device.source}")
        board.leds.DIR.PIN = 0xFF
        board.clock.CR.START = 1
        start_timer(board.timer)
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            seconds = board.clock.DR.read() % 60
            board.leds.DATA.PIN = seconds
            print(f"{board.timer.TCR0.read():10}  {seconds:08b}")
            time.sleep(0.5)


if __name__ == "__main__":
    main()
