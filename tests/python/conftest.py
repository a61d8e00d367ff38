"""One device map with a bit of everything, on a mock and on a file."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import devregs
import pytest

KIT = Path(__file__).with_name("kit.toml")
EXAMPLES = Path(__file__).parents[2] / "examples"

# A shell that runs the suite in the background has it ignore Ctrl-C, which tests send to themselves and their children.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def example() -> Callable[[str], ModuleType]:
    """Imports a script of the examples by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def kit_path() -> Path:
    return KIT


@pytest.fixture(scope="session")
def kit_map(kit_path: Path) -> devregs.Map:
    return devregs.load(kit_path)


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    """A file that stands in for the kit's memory."""
    path = tmp_path / "memory"
    content = bytearray(0xA010)
    content[0x1000] = 0x61
    path.write_bytes(content)
    return path


@pytest.fixture
def bare(kit_map: devregs.Map, memory: Path) -> Iterator[devregs.Device]:
    """The kit over plain memory, in which the words stored stay as they are."""
    with devregs.open(kit_map, f"file:{memory}") as device:
        device.CTRL.write(0x8001_0031)
        yield device


@pytest.fixture(params=["mock", "file"])
def kit(
    request: pytest.FixtureRequest, kit_map: devregs.Map, memory: Path
) -> Iterator[devregs.Device]:
    """The kit, on each source a test without hardware can have: the behaviour is the same."""
    source = "mock:" if request.param == "mock" else f"file:{memory}"
    device = devregs.open(kit_map, source)
    if request.param == "file":
        device.CTRL.write(0x8001_0031)
    yield device
    device.close()
