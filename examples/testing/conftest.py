from pathlib import Path

import pytest


@pytest.fixture
def converter(devregs_mock):
    """A converter whose time passes when something waits for it, so that tests take none."""
    return devregs_mock(Path(__file__).with_name("converter.toml"), clock="virtual")
