"""The interpreter's end, whatever is open then: exit code 0, and nothing on standard error."""

from __future__ import annotations

import pytest
from test_lifetimes import run

ORDINARY, DEVELOPMENT = (), ("-X", "dev")


@pytest.fixture(params=[ORDINARY, DEVELOPMENT], ids=["ordinary", "development"])
def end(request, kit_path):
    """Runs a script to its end and returns what it printed."""
    return lambda script: run(script, kit_path, *request.param)


def test_open_devices_and_live_views(end):
    end("""
    device = devregs.mock(kit)
    view = device.regions.regs.view()
    part = view[::2]
    words, registers = iter(view), device.registers()
    next(words), next(registers)
    array, group, field = device.CH, device.CH[3], type(device.CTRL).MODE
    member, read = device.CTRL.MODE, device.CTRL.read
    sys.device = devregs.mock(kit)
    ring = [devregs.mock(kit)]
    ring.append(ring)
    type(device.CTRL).device = device
    """)


def test_an_array_of_numpy_over_a_view(end):
    pytest.importorskip("numpy")
    end("""
    import numpy
    array = numpy.asarray(devregs.mock(kit).regions.regs.view())
    assert array[0] == 0x8001_0031
    """)


def test_leaving_the_block_at_exit(end):
    script = """
    with devregs.mock(kit) as device:
        sys.exit()
    """
    end(script)


def test_access_and_close_in_atexit(end):
    said = end("""
    import atexit
    device = devregs.mock(kit)
    view = device.regions.ram.view()
    @atexit.register
    def last():
        device.CTRL.modify(EN=0, MODE="TURBO")
        print(device.CTRL.MODE.name, device.CTRL.wait(EN=0), view[0])
        view.release()
        device.close()
        try:
            device.CTRL.read()
        except devregs.AccessError:
            print("closed")
    """)
    assert said == f"TURBO {0x8001_0070} 0\nclosed\n"


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("device.CTRL.read()", "2147549233"),
        ("device.CTRL.write(0)", "None"),
        ("device.CTRL.write(False)", "None"),
        ("device.CTRL.write(1 << 32)", "MapError"),
        ("device.CTRL.modify(EN=0, MODE='SLOW')", "None"),
        ("device.CTRL.modify({'EN': False})", "None"),
        ("device.CTRL.COUNT", "32769"),
        ("setattr(device.CTRL, 'EN', 2)", "MapError"),
        ("delattr(device.CTRL, 'EN')", "AttributeError"),
        ("device.STATUS.modify(READY=1)", "AccessError"),
        ("device.COMMAND.read()", "AccessError"),
        ("device.CTRL.wait(EN=1, timeout=1)", "2147549233"),
        ("device.CTRL.wait(EN=0, timeout=0.05)", "WaitTimeout"),
        ("device.CH[3].DATA[1].read()", "0"),
        ("device.regions.ram.read_into(bytearray(8))", "2"),
        ("device.regions.ram.view()[0]", "0"),
        ("device.close() or device.CTRL.read()", "AccessError"),
        ("device.close() or device.CTRL.EN", "AccessError"),
    ],
)
def test_access_by_an_object_that_goes_last(kit_path, use, said):
    """A driver that turns its block off when it is deleted, while the interpreter shuts down."""
    script = f"""
    class Driver:
        def __del__(self, print=print, Exception=Exception, type=type, setattr=setattr):
            device = self.device
            try:
                print({use})
            except Exception as error:
                print(type(error).__name__)
    driver = Driver()
    driver.device = devregs.mock(kit)
    """
    assert run(script, kit_path) == said + "\n"


DAEMONS = """
import threading, time
device = devregs.mock(kit)
buffer = bytearray(0x4000)
started = threading.Semaphore(0)
def loop(do):
    started.release()
    while True:
        do()
for do in work:
    threading.Thread(target=loop, args=(do,), daemon=True).start()
for do in work:
    started.acquire()
time.sleep(0.1)
"""


def test_daemon_threads_at_work(kit_path):
    """They go on until the very end, which a module that goes slowly draws out."""
    script = f"""
import time
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.2)
sys.modules["slow"] = Slow()
work = [
    lambda: device.CTRL.wait(COUNT=1), lambda: device.CTRL.wait(COUNT=1, interval=0.001),
    lambda: device.CTRL.read(), lambda: device.CTRL.modify(EN=1), lambda: device.CTRL.EN,
    lambda: device.regions.ram.read_into(buffer),
]
{DAEMONS}
"""
    run(script, kit_path)


def test_daemon_threads_that_wait_when_the_interpreter_is_gone(kit_path):
    """Its memory is freed, and the process lives on for a second more."""
    script = f"""
import ctypes
libc = ctypes.CDLL(None)
work = [lambda: device.CTRL.wait(COUNT=1), lambda: device.CTRL.wait(COUNT=1, interval=0.001)]
{DAEMONS}
libc.on_exit(libc.sleep, None)
sys.exit(1)  # For so many seconds sleep() is called.
"""
    run(script, kit_path, code=1)
