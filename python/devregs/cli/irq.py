"""`devregs irq`."""

from __future__ import annotations

import argparse
import time

from .options import OK, Failure, Parser, add_source
from .target import Bench


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = "devregs irq [OPTION…] SOURCE\n       devregs irq --board FILE [OPTION…] DEVICE"
    parser.add_argument("source", metavar="SOURCE", help="a UIO device")
    parser.add_argument(
        "--count", type=int, metavar="N", help="end after N waits (default: go on until Ctrl-C)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help="give up after S seconds without one (exit code 5)",
    )
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Enable the interrupt, wait, and print a line each time there were some."""
    import json

    if options.count is not None and options.count < 1:
        raise Failure("--count is 1 or more")
    if options.timeout is not None and not options.timeout >= 0:
        raise Failure("--timeout is a time in seconds")
    with Bench(options) as bench:
        irq = bench.device(options.source).irq
        start, waits = time.monotonic(), 0
        while options.count is None or waits < options.count:
            events = irq.wait(options.timeout)
            waits += 1
            seconds = time.monotonic() - start
            if options.json:
                line = {
                    "events": events,
                    "count": irq.count,
                    "missed": irq.missed,
                    "seconds": round(seconds, 6),
                }
                print(json.dumps(line), flush=True)
            else:
                lost = f"  {irq.missed} missed" if irq.missed else ""
                print(f"{seconds:10.6f} s  {events} new  count {irq.count}{lost}", flush=True)
    return OK
