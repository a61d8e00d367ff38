"""Read registers into NumPy: a copy of them, and a live window on them.

Expects a PL061 and needs NumPy; without it, the script says so and ends.

    python numpy_view.py
    python numpy_view.py --source uio:labgpio
"""

import argparse

import devregs

try:
    import numpy as np
except ImportError:
    print("this example needs NumPy: pip install numpy")
    raise SystemExit(0) from None


def main() -> None:
    parser = argparse.ArgumentParser(description="Read registers into NumPy.")
    parser.add_argument("--source", default="mock:")
    options = parser.parse_args()
    with devregs.open("pl061", options.source) as gpio:
        # A copy: read_into takes each register once, in its width.
        identity = np.empty(8, dtype=np.uint32)
        gpio.regions.id.read_into(identity)
        print("identity", " ".join(f"{byte:02x}" for byte in identity & 0xFF))

        # A window: no copy, each item is the register itself. Take items one at a time; a copy or a
        # comparison of the whole array may touch registers twice, or in other widths.
        with gpio.regions.regs.view(offset=0x400, size=0x20) as view:
            window = np.asarray(view)
            window[0] = 0x0F
            print("DIR     ", hex(window[0]), "by its register", hex(gpio.DIR.read()))
            try:
                gpio.close()
            except BufferError as error:
                print("close   ", error)
            del window

        # The map makes this region read-only, and so is its window.
        with gpio.regions.id.view() as view:
            print("writable", np.asarray(view).flags.writeable)


if __name__ == "__main__":
    main()
