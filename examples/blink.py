"""Blink a GPIO line: a PL061, an AXI GPIO or a BCM2835 (Raspberry Pi 1 to 3).

The line becomes an output, so choose one that nothing else drives.

    python blink.py
    python blink.py --map pl061 --source uio:labgpio --line 3
    python blink.py --map axi-gpio --source mem:0x4120_0000
    python blink.py --map bcm2835-gpio --source mem:0x2020_0000 --line 16
"""

import argparse
import time
from collections.abc import Callable

import devregs

Switch = Callable[[bool], None]


def pl061(gpio: devregs.Device, line: int) -> Switch:
    mask = 1 << line
    gpio.DIR.write(gpio.DIR.read() | mask)
    # The address is the mask: this write reaches one line only.
    return lambda on: gpio.MASKED_DATA[mask].write(mask if on else 0)


def axi_gpio(gpio: devregs.Device, line: int) -> Switch:
    mask = 1 << line
    gpio.GPIO_TRI.write(gpio.GPIO_TRI.read() & ~mask)
    # Outputs cannot be read back, so this script takes all outputs of the channel as its own.
    return lambda on: gpio.GPIO_DATA.write(mask if on else 0)


def bcm2835(gpio: devregs.Device, line: int) -> Switch:
    gpio[f"GPFSEL{line // 10}"][f"FSEL{line}"] = "output"
    high, low = gpio[f"GPSET{line // 32}"], gpio[f"GPCLR{line // 32}"]
    return lambda on: (high if on else low).modify({f"P{line}": 1})


KINDS = {"pl061": pl061, "axi-gpio": axi_gpio, "bcm2835-gpio": bcm2835}


def main() -> None:
    parser = argparse.ArgumentParser(description="Blink a GPIO line.")
    parser.add_argument("--map", choices=KINDS, default="pl061")
    parser.add_argument("--source", default="mock:")
    parser.add_argument("--line", type=int, default=0)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--period", type=float, default=0.2, help="in seconds")
    options = parser.parse_args()
    with devregs.open(options.map, options.source) as gpio:
        switch = KINDS[options.map](gpio, options.line)
        for on in [True, False] * options.times:
            switch(on)
            print(f"line {options.line} {'on' if on else 'off'}")
            time.sleep(options.period / 2)


if __name__ == "__main__":
    main()
