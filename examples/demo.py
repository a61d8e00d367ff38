"""The main job on the embedded mock device, one step at a time: `make demo` runs this."""

from __future__ import annotations

import devregs


def step(text: str) -> None:
    print(f"\n# {text}")


def main() -> None:
    step("A device map from the library, laid over a mock: no hardware, the same code")
    gpio = devregs.mock("pl061")
    print(gpio)
    for region in gpio.regions.values():
        print(" ", region)

    step("Registers by name: one call, one access")
    gpio.DIR.write(0x0F)
    print(f"  DIR.read() = {gpio.DIR.read():#x}")

    step("Fields: a write keeps the neighbours, in one load and one store")
    timer = devregs.mock("axi-timer")
    control = timer.TCSR0
    control.modify(ENT0=1, ARHT0=1)
    print(control)

    step("A memoryview over a region: format, access width and read-only flag are the map's")
    view = gpio.regions.regs.view()
    print(f"  format {view.format!r}, {view.nbytes:#x} bytes, read-only: {view.readonly}")
    print(f"  view[0x400 // 4] = {view[0x400 // 4]:#x}")
    identity = gpio.regions.id.view()
    print(
        f"  format {identity.format!r}, {identity.nbytes:#x} bytes, read-only: {identity.readonly}"
    )
    attempt(lambda: identity.__setitem__(0, 1))

    step("The mock behaves as its map says: an alarm interrupts, after a minute of its own time")
    rtc = devregs.mock("pl031", clock="virtual")
    with rtc.trace() as log:
        rtc.CR.START = 1
        rtc.MR.write(60)
        rtc.IMSC.ALARM = 1
        rtc.irq.wait(timeout=100)
    print(log, end="")
    print(f"  DR.read() = {rtc.DR.read()}, its clock shows {rtc.hw.time:.3f} s")

    step("What the map forbids, or what does not fit, is an error that says what to do")
    attempt(lambda: gpio.PERIPHID0.write(1))
    attempt(lambda: gpio.IC.read())
    attempt(lambda: gpio.DIR.write(0x1_0000_0000))
    attempt(lambda: gpio["DRI"])
    attempt(lambda: devregs.open("pl061", "uio:labgpio"))

    step("A device is closed when nothing looks at it any more")
    attempt(gpio.close)
    view.release()
    identity.release()
    gpio.close()
    print(" ", gpio)


def attempt(call: object) -> None:
    """Shows the error of a call that has to fail."""
    assert callable(call)
    try:
        call()
    except Exception as error:
        print(f"  {type(error).__name__}: {error}")
    else:
        raise AssertionError("that should have failed")


if __name__ == "__main__":
    main()
