"""Set the alarm of a real-time clock (PL031), and wait for its interrupt.

Opened through UIO the clock interrupts, and so does a mock; other sources have no interrupts, and it
is polled.

    python rtc_alarm.py
    python rtc_alarm.py --source uio:labrtc --seconds 3
"""

import argparse
import time

import devregs


def wait_for_alarm(rtc: devregs.Device, seconds: int) -> str:
    """Return what told of the alarm. Raises WaitTimeout where it does not come."""
    rtc.CR.START = 1
    rtc.ICR.ALARM = 1
    rtc.MR.write((rtc.DR.read() + seconds) % 2**32)
    rtc.IMSC.ALARM = 1
    if rtc.irq:
        rtc.irq.wait(timeout=seconds + 1)
        how = "the interrupt"
    else:
        rtc.RIS.wait(ALARM=1, timeout=seconds + 1, interval=0.01)
        how = "RIS"
    rtc.IMSC.ALARM = 0
    rtc.ICR.ALARM = 1
    return how


def main() -> None:
    parser = argparse.ArgumentParser(description="Set an alarm and wait for it.")
    parser.add_argument("--source", default="mock:")
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    with devregs.open("pl031", options.source) as rtc:
        start = time.monotonic()
        how = wait_for_alarm(rtc, options.seconds)
        print(f"{how} told of the alarm after {time.monotonic() - start:.2f} s")


if __name__ == "__main__":
    main()
