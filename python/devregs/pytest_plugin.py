"""For pytest: mocked devices as fixtures, what a failed test did to its devices, and coverage of registers.

pytest finds it where devregs is installed. Nothing is watched unless a fixture or an option asks for it.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ._board import Board, mock_board
from ._devregs import (
    Device,
    ExpectationError,
    Map,
    Trace,
    _unwatch_opens,
    _watch_opens,
    mock,
)

if TYPE_CHECKING:
    from .coverage import Coverage
    from .testing import Step

# How many lines of a device's accesses a report shows, and how many accesses are kept for them: a loop that polls
# makes one line of thousands.
LIMIT = 50
KEPT = 100_000
OUTPUT = "devregs_coverage"


class Watched:
    """A device whose accesses are recorded, to show them where a test fails."""

    def __init__(self, device: Device, label: str) -> None:
        self.label = label
        self.device = weakref.ref(device)
        self.trace: Trace = device.trace(KEPT)
        self.trace.start()

    def gone(self) -> bool:
        device = self.device()
        return device is None or device.closed


class State:
    """What the plugin knows in one run."""

    def __init__(self, config: pytest.Config) -> None:
        limit = config.getoption("devregs_trace_limit")
        self.limit: int = _limit(config.getini("devregs_trace_limit")) if limit is None else limit
        self.all_devices: bool = config.getoption("devregs_trace")
        self.watched: list[Watched] = []
        self.expectations: list[contextlib.AbstractContextManager[None]] = []
        self.coverage: Coverage | None = None
        self.collecting = contextlib.ExitStack()
        self.workers: set[str] = set()
        """The workers of pytest-xdist that have not handed over what they touched."""
        self.lost: list[str] = []
        """What is wrong with the coverage."""

    def watch(self, device: Device, label: str = "") -> None:
        if self.limit == 0:
            return
        label = label or f"{device.name} at {device.source}"
        # A fixture knows its device by a better name than the hook for all devices, which comes first.
        for watched in self.watched:
            if watched.device() is device:
                watched.label = label
                return
        self.watched.append(Watched(device, label))


STATE = pytest.StashKey[State]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("devregs", "devregs: device registers")
    group.addoption(
        "--devregs-trace",
        action="store_true",
        help="record the accesses of all devices, not of fixtures' mocks alone, to show them where a test fails",
    )
    group.addoption(
        "--devregs-trace-limit",
        type=_limit,
        metavar="N",
        help=f"show the last N lines of a device's accesses, 0 for none (default: {LIMIT}); equal ones in a row are one line",
    )
    group.addoption(
        "--devregs-cov",
        action="store_true",
        help="tell which registers, fields and named values the run read and wrote; with -v, cut no list",
    )
    group.addoption(
        "--devregs-cov-json", type=Path, metavar="FILE", help="write that to a file, as JSON"
    )
    group.addoption(
        "--devregs-cov-fail-under",
        type=float,
        metavar="PERCENT",
        help="let the run fail where less than that was touched",
    )
    parser.addini("devregs_trace_limit", "the default of --devregs-trace-limit", default=str(LIMIT))


def _limit(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"{number} is no number of accesses")
    return number


def pytest_configure(config: pytest.Config) -> None:
    try:
        state = config.stash[STATE] = State(config)
    except ValueError as error:
        raise pytest.UsageError(f"devregs_trace_limit: {error}") from None
    wanted = config.getoption("devregs_cov_json"), config.getoption("devregs_cov_fail_under")
    if config.getoption("devregs_cov") or any(option is not None for option in wanted):
        from . import coverage

        state.coverage = state.collecting.enter_context(coverage.collect())
    if state.all_devices:
        _watch_opens(state.watch)


def pytest_unconfigure(config: pytest.Config) -> None:
    if state := config.stash.get(STATE, None):
        state.collecting.close()
        _unwatch_opens(state.watch)


def pytest_report_header(config: pytest.Config) -> list[str]:
    state = config.stash[STATE]
    on = ["coverage"] * (state.coverage is not None) + ["trace of all devices"] * state.all_devices
    return [f"devregs: {', '.join(on)}"] if on else []


# Fixtures.


@pytest.fixture
def devregs_mock(request: pytest.FixtureRequest) -> Iterator[Callable[..., Device]]:
    """Makes mocked devices, closed at the end of the test: `devregs_mock("pl061", clock="virtual")`.

    Takes what `devregs.mock` takes. Where the test fails, the report shows the last accesses.
    """
    state = request.config.stash[STATE]
    with _closing(request) as closing:

        def make(map: str | Path | Map, **options: Any) -> Device:
            device = mock(map, **options)
            closing.callback(device.close)
            state.watch(device)
            return device

        yield make


@pytest.fixture
def devregs_board(request: pytest.FixtureRequest) -> Iterator[Callable[..., Board]]:
    """Makes boards whose devices are all mocks, closed at the end of the test: `devregs_board("board.toml")`.

    Takes what `devregs.mock_board` takes.
    """
    state = request.config.stash[STATE]
    with _closing(request) as closing:

        def make(path: str | Path, **options: Any) -> Board:
            board = mock_board(path, **options)
            closing.callback(board.close)
            for name, device in board.items():
                state.watch(device, f"{name}, {device.name} at {device.source}")
            return board

        yield make


@pytest.fixture
def devregs_expect(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Lets a device take only these accesses until the test ends: `devregs_expect(gpio, write("DIR", 1))`.

    As `devregs.testing.expect`, without a block. The test fails where some were not made when its
    function returns. A second call for the same device wants those of the first to be made.
    """
    from .testing import expect

    state = request.config.stash[STATE]
    running: dict[Device, contextlib.AbstractContextManager[None]] = {}

    def begin(device: Device, *steps: Step) -> None:
        if before := running.pop(device, None):
            state.expectations.remove(before)
            before.__exit__(None, None, None)
        expectation = expect(device, *steps)
        expectation.__enter__()
        running[device] = expectation
        state.expectations.append(expectation)

    return begin


@contextlib.contextmanager
def _closing(request: pytest.FixtureRequest) -> Iterator[contextlib.ExitStack]:
    """Closes all devices at the end, whatever a view of one of them does."""
    stack = contextlib.ExitStack()
    try:
        yield stack
    finally:
        try:
            stack.close()
        except BufferError:
            # Of a failed test, the traceback holds its views, and lets them go later.
            if not request.node.stash.get(FAILED, False):
                raise


# One test.

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    state = item.config.stash[STATE]
    for watched in state.watched:
        watched.trace.clear()
    item.stash[FAILED] = False


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """After the test's own function, if that returned: what it expected has to be done."""
    missing = []
    for expectation in _taken(item.config.stash[STATE].expectations):
        try:
            expectation.__exit__(None, None, None)
        except ExpectationError as error:
            missing.append(str(error))
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    state = item.config.stash[STATE]
    if report.failed:
        item.stash[FAILED] = True
        report.sections.extend(_sections(state))
    if call.when != "setup" or report.failed:
        # Expectations of a test that failed end here, before the teardown of fixtures meets them.
        for expectation in _taken(state.expectations):
            with contextlib.suppress(ExpectationError):
                expectation.__exit__(None, None, None)
    if call.when == "teardown":
        for watched in [watched for watched in state.watched if watched.gone()]:
            watched.trace.stop()
            state.watched.remove(watched)


def _taken(expectations: list[Any]) -> list[Any]:
    taken = expectations[:]
    expectations.clear()
    return taken


def _sections(state: State) -> Iterator[tuple[str, str]]:
    """Each device's accesses since the start of the test, or since they were shown last."""
    titles: dict[str, int] = {}
    for watched in state.watched:
        text, dropped = str(watched.trace), watched.trace.dropped
        watched.trace.clear()
        if not text:
            continue
        titles[watched.label] = number = titles.get(watched.label, 0) + 1
        again = f" ({number})" if number > 1 else ""
        yield f"devregs: accesses of {watched.label}{again}", _shown(text, dropped, state.limit)


def _shown(transcript: str, dropped: int, limit: int) -> str:
    """The end of a transcript, with one line for equal accesses in a row and their count."""
    lines: list[str] = []
    for what, alike in itertools.groupby(
        transcript.splitlines(), lambda line: line.split(" ms ", 1)[1]
    ):
        first, *others = alike
        count = f"  ({len(others) + 1} times)" if others else ""
        lines.append(f"{first.split(' ms ', 1)[0]} ms {what}{count}")
    above = []
    if dropped:
        above.append(f"only the last {KEPT} of {KEPT + dropped} accesses were kept")
    if len(lines) > limit:
        above.append(
            f"the last {limit} lines; --devregs-trace-limit={len(lines)} shows {len(lines) - limit} more"
        )
    return "\n".join([*above, *lines[-limit:], ""])


# Coverage. With pytest-xdist each worker hands over what it has, and the controller reports.


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    state = config.stash[STATE]
    if state.coverage is None:
        return
    state.collecting.close()
    if hasattr(config, "workeroutput"):
        config.workeroutput[OUTPUT] = state.coverage.save()
        return
    for worker in sorted(state.workers):
        state.lost.append(f"what {worker} touched is not counted: it did not end in order")
    file: Path | None = config.getoption("devregs_cov_json")
    if file is not None:
        try:
            file.write_text(state.coverage.to_json())
        except OSError as error:
            state.lost.append(f"the report was not written: {error}")
    least = config.getoption("devregs_cov_fail_under")
    if least is not None and state.coverage.percent < least:
        percent = int(state.coverage.percent * 100) / 100
        state.lost.append(f"{percent:.2f} % is less than the {least:g} % asked for")
    if state.lost and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """A worker of pytest-xdist begins."""
    node.config.stash[STATE].workers.add(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """It has ended, in order or not."""
    state = node.config.stash[STATE]
    saved = getattr(node, "workeroutput", {}).get(OUTPUT)
    if state.coverage is not None and saved is not None:
        state.coverage.merge(saved)
        state.workers.discard(node.gateway.id)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    state = config.stash[STATE]
    if state.coverage is None:
        return
    if not config.getoption("devregs_cov") and not state.lost:
        return
    terminalreporter.section("devregs: coverage")
    if config.getoption("devregs_cov"):
        terminalreporter.write(state.coverage.report(full=config.getoption("verbose") > 0))
    for line in state.lost:
        terminalreporter.write_line(f"devregs: {line}", red=True)
