"""Runs inside a guest: tells the host what came of the tests, and asks for what only it can do."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

LAB = Path(__file__).parent
OUTCOMES: dict[str, bool] = {}
ANSWERS: list[tuple[str, str]] = []


def tell_host(word: str, text: str = "") -> None:
    """Write a marker on the serial line, past pytest's capture."""
    line = f"\n@@lab:{os.environ['LAB_TOKEN']}:{word} {text}\n"
    Path("/dev/console").write_text(line)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    # Passed is a test whose call ran and of which nothing failed: in the lab nothing is skipped.
    ran = report.when == "call" and report.passed and not hasattr(report, "wasxfail")
    known = OUTCOMES.get(report.nodeid)
    if report.failed or (known is None and report.when == "teardown"):
        OUTCOMES[report.nodeid] = False
    elif ran:
        OUTCOMES[report.nodeid] = True


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if not report.passed:
        OUTCOMES[report.nodeid] = False


def pytest_sessionfinish(session: pytest.Session) -> None:
    for item in session.items:
        OUTCOMES.setdefault(item.nodeid, False)
    failed = [name for name, passed in OUTCOMES.items() if not passed]
    result = {"passed": len(OUTCOMES) - len(failed), "failed": failed, "answers": ANSWERS}
    tell_host("result", json.dumps(result))


@pytest.fixture
def answered() -> Callable[[str, str], None]:
    """Note what a device answered, for the summary at the end."""
    return lambda device, text: ANSWERS.append((device, text))


@pytest.fixture
def keep() -> Callable[[str], None]:
    """Write lines on the serial line, marked `kept`: the run's log has them."""

    def write(text: str) -> None:
        for line in text.splitlines():
            tell_host("kept", line)

    return write


@pytest.fixture
def press_power_button() -> Callable[[], None]:
    """Have the host press the power button; on aarch64 a pulse on line 3 of the GPIO block."""
    return lambda: tell_host("pulse")


@pytest.fixture
def maps() -> Path:
    """The folder of the lab's own device maps."""
    return LAB / "maps"
