"""The package imported again in the same process, as notebooks and reloaders do."""

from __future__ import annotations

import pytest
from test_lifetimes import run


@pytest.mark.parametrize(
    "again",
    [
        "for name in [name for name in sys.modules if name.startswith('devregs')]: del sys.modules[name]",
        "del sys.modules['devregs._devregs']",
        "importlib.reload(devregs._devregs)",
        "importlib.reload(devregs)",
    ],
)
def test_what_the_core_raises_is_of_the_classes_that_either_module_has(kit_path, again):
    run(
        f"""
import importlib
before = devregs
device = devregs.mock(kit)
{again}
import devregs as after, devregs._devregs as core
assert core.Device is before.Device
names = ["DevregsError", "MapError", "AccessError", "BusError", "SourceError", "WaitTimeout", "ExpectationError"]
assert all(getattr(before, name) is getattr(after, name) is getattr(core, name) for name in names)
for module in (before, after):
    try:
        module.load("no-such-map")
    except before.MapError:
        pass
device.hw.CTRL.fail()
try:
    device.CTRL.read()
except after.BusError as error:
    assert error.at == "kit.CTRL"
else:
    sys.exit("no error")
from devregs import coverage
with coverage.collect() as found:
    after.mock(kit).CTRL.read()
    before.mock(kit).CTRL.read()
(seen,) = found.maps
assert [reg.reads for reg in seen.registers if reg.path == "CTRL"] == [2], seen
""",
        kit_path,
    )
