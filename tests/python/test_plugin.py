"""The pytest plugin, as another project's tests meet it."""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def handler_of_faults() -> Iterator[None]:
    """A pytest inside this one turns faulthandler off when it ends, and later tests want it."""
    yield
    faulthandler.enable(sys.__stderr__ or 2)


PASSES = """
def test_it(devregs_mock):
    devregs_mock("pl061").DIR.write(1)
"""


def test_the_fixture_mocks_and_closes(pytester):
    pytester.makepyfile(
        """
        devices = []

        def test_use(devregs_mock):
            gpio, clock = devregs_mock("pl061"), devregs_mock("pl031", clock="virtual")
            devices.extend([gpio, clock])
            gpio.hw.RIS.PIN = 3
            assert gpio.RIS.read() == 3
            clock.hw.advance(1000)
            assert not any(device.closed for device in devices)

        def test_closed():
            assert all(device.closed for device in devices)
        """
    )
    pytester.runpytest().assert_outcomes(passed=2)


def test_all_devices_of_a_board_are_mocks(pytester):
    Path("board.toml").write_text(
        '[devices.leds]\nmap = "pl061"\nsource = "uio:nowhere"\n'
        '[devices.rtc]\nmap = "pl031"\nsource = "mem:0x0901_0000"\n'
    )
    pytester.makepyfile(
        """
        boards = []

        def test_use(devregs_board):
            board = devregs_board("board.toml", clock="virtual")
            boards.append(board)
            assert [device.source for device in board.values()] == ["mock:", "mock:"]
            board.leds.DIR.write(1)
            assert False

        def test_closed():
            assert boards[0].closed
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["* devregs: accesses of leds, pl061 at mock: *", "*write  DIR  0x0000_0001*"]
    )
    result.stdout.no_fnmatch_line("*accesses of rtc*")


def test_a_failure_shows_the_accesses_decoded(pytester):
    pytester.makepyfile(
        """
        def test_it(devregs_mock):
            timer, other = devregs_mock("axi-timer"), devregs_mock("axi-timer")
            timer.TCSR0.modify(UDT0="DOWN")
            other.TLR0.write(5)
            assert False
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*-- devregs: accesses of axi-timer at mock: --*",
            "*ms  read   TCSR0  0x*",
            "*ms  write  TCSR0  0x*UDT0=DOWN*",
            "*-- devregs: accesses of axi-timer at mock: (2) --*",
            "*ms  write  TLR0  0x0000_0005*",
        ]
    )


def test_the_transcript_is_of_this_test_and_its_end(pytester):
    pytester.makepyfile(
        """
        import devregs, pytest

        @pytest.fixture(scope="module")
        def gpio():
            with devregs.mock("pl061") as gpio:
                yield gpio

        def test_first(gpio):
            gpio.IS.write(1)

        def test_second(gpio):
            for value in range(7):
                gpio.DIR.write(value)
            assert False
        """
    )
    result = pytester.runpytest("--devregs-trace", "--devregs-trace-limit=3")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*accesses of pl061 at mock:*", "the last 3 lines; --devregs-trace-limit=7 shows 4 more"]
    )
    output = result.stdout.str()
    assert output.count("write  DIR") == 3
    assert "write  IS" not in output


def test_a_loop_that_polls_takes_one_line(pytester):
    pytester.makepyfile(
        """
        import devregs, pytest

        def test_it(devregs_mock):
            gpio = devregs_mock("pl061", clock="virtual")
            gpio.DIR.write(1)
            gpio.RIS.wait(PIN=1, timeout=0.001)
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*WaitTimeout*",
            "* devregs: accesses of pl061 at mock: *",
            "* ms  write  DIR  0x0000_0001*",
            "* ms  read   RIS  0x0000_0000  PIN=0  (* times)",
        ]
    )
    assert result.stdout.str().count("read   RIS") == 1


def test_accesses_that_were_not_kept_are_told(pytester, monkeypatch):
    monkeypatch.setattr("devregs.pytest_plugin.KEPT", 10)
    pytester.makepyfile(
        """
        def test_it(devregs_mock):
            gpio = devregs_mock("pl061")
            for _ in range(25):
                gpio.DIR.read()
            assert False
        """
    )
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(
        ["only the last 10 of 25 accesses were kept", "*read   DIR  0x0000_0000  (10 times)"]
    )


def test_other_devices_are_recorded_only_where_asked(pytester):
    pytester.makepyfile(
        """
        import devregs

        def test_it():
            with devregs.mock("pl061") as gpio:
                gpio.DIR.write(1)
            assert False
        """
    )
    result = pytester.runpytest()
    result.stdout.no_fnmatch_line("*devregs: accesses*")
    result = pytester.runpytest("--devregs-trace")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*devregs: accesses of pl061*", "*write  DIR  0x0000_0001*"])


def test_the_limit_may_stand_in_the_ini_file(pytester):
    pytester.makeini("[pytest]\ndevregs_trace_limit = 0")
    pytester.makepyfile(PASSES + "    assert False")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*devregs: accesses*")
    pytester.makeini("[pytest]\ndevregs_trace_limit = many")
    result = pytester.runpytest()
    result.stderr.fnmatch_lines(["ERROR: devregs_trace_limit: *'many'*"])


def test_expectations_hold_to_the_end_of_the_test(pytester):
    pytester.makepyfile(
        """
        import pytest
        from devregs.testing import ExpectationError, expect, read, write

        def test_done(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1), read("DIR"))
            gpio.DIR.write(1)
            gpio.DIR.read()

        def test_not_done(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1), read("DATA"))
            gpio.DIR.write(1)

        def test_another(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1))
            gpio.DIR.write(2)

        def test_another_that_the_driver_hides(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1))
            try:
                gpio.DIR.write(2)
            except Exception:
                gpio.DIR.write(1)

        def test_the_first_call_not_done(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1))
            with pytest.raises(ExpectationError):
                devregs_expect(gpio, write("IS", 1))

        def test_one_at_a_time(devregs_mock, devregs_expect):
            gpio = devregs_mock("pl061")
            devregs_expect(gpio, write("DIR", 1))
            with pytest.raises(PermissionError, match="expected of it already"):
                with expect(gpio, write("IS", 1)):
                    pass
            with pytest.raises(ExpectationError):
                gpio.IS.write(1)

        def test_wrong_expectation(devregs_mock, devregs_expect):
            with pytest.raises(ValueError, match="DRI"):
                devregs_expect(devregs_mock("pl061"), write("DRI", 1))

        @pytest.fixture
        def driver(devregs_mock):
            gpio = devregs_mock("pl061")
            yield gpio
            gpio.IE.write(0)

        def test_teardown_is_free(driver, devregs_expect):
            devregs_expect(driver, write("DIR", 1))
            driver.DIR.write(1)

        def test_teardown_is_free_after_a_failure(driver, devregs_expect):
            devregs_expect(driver, write("DIR", 1))
            assert False
        """
    )
    result = pytester.runpytest("-rA")
    # No errors: what was not done is a failure of the test, and is told once.
    result.assert_outcomes(passed=4, failed=5)
    result.stdout.fnmatch_lines(
        [
            "*_ test_not_done _*",
            "pl061: access 2 is not that of what is expected",
            "> * 2 read   DATA *nothing more",
            "*devregs: accesses of pl061 at mock:*",
            "*write  DIR  0x0000_0001*",
            "*_ test_another _*",
            "*ExpectationError: pl061: access 1 is not*",
            "*_ test_another_that_the_driver_hides _*",
            "> * 1 write  DIR  0x0000_0001 *write  DIR  0x0000_0002*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_view_left_behind(pytester):
    pytester.makepyfile(
        """
        import devregs
        kept = []

        def test_failing(devregs_mock):
            view = devregs_mock("pl061").regions.regs.view()
            assert view[0] == 1

        def test_leaking(devregs_mock):
            kept.append(devregs_mock("pl061").regions.regs.view())
        """
    )
    result = pytester.runpytest()
    # The traceback holds the first one's, which says nothing of the test; the second one's is the test's.
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaking*", "*BufferError*"])


def test_coverage_in_the_summary(pytester):
    pytester.makepyfile(PASSES)
    result = pytester.runpytest("--devregs-cov")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*== devregs: coverage ==*",
            "map *registers read *covered",
            "pl061 * 0 of 18 * 1 of 9 *",
            "*never read *MASKED_DATA*",
            "* more",
        ]
    )
    full = pytester.runpytest("--devregs-cov", "-v")
    full.stdout.fnmatch_lines(["*never read *MASKED_DATA*"])
    full.stdout.no_fnmatch_line("*more")


def test_coverage_may_fail_a_run(pytester):
    pytester.makepyfile(PASSES)
    result = pytester.runpytest("--devregs-cov-fail-under=50")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["devregs: *% is less than the 50 % asked for"])
    assert pytester.runpytest("--devregs-cov-fail-under=1").ret == 0


def test_coverage_as_json(pytester):
    pytester.makepyfile(PASSES)
    result = pytester.runpytest("--devregs-cov-json=cov.json")
    result.stdout.no_fnmatch_line("*devregs: coverage =*")
    report = json.loads(Path("cov.json").read_text())
    registers = {register["path"]: register for register in report["maps"][0]["registers"]}
    assert (registers["DIR"]["writes"], registers["DIR"]["reads"]) == (1, 0)
    result = pytester.runpytest("--devregs-cov-json=none/cov.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["devregs: the report was not written: *none/cov.json*"])


def test_workers_report_together(pytester):
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("register", ["DIR", "IS", "IBE", "IEV", "IE"])
        def test_it(devregs_mock, register):
            devregs_mock("pl061")[register].write(1)

        def test_failing(devregs_mock):
            devregs_mock("pl061").AFSEL.write(1)
            assert False
        """
    )
    result = pytester.runpytest(
        "-n2", "--dist=each", "--devregs-cov", "--devregs-cov-json=cov.json"
    )
    result.assert_outcomes(passed=10, failed=2)
    result.stdout.fnmatch_lines(
        ["*devregs: accesses of pl061 at mock:*", "*write  AFSEL*", "pl061 * 0 of 18 * 6 of 9 *"]
    )
    report = json.loads(Path("cov.json").read_text())
    writes = [register["writes"] for register in report["maps"][0]["registers"]]
    assert sum(writes) == 12


def test_a_worker_that_crashes_is_told(pytester):
    pytest.importorskip("xdist")
    pytester.makepyfile(PASSES + "    import os; os._exit(3)")
    result = pytester.runpytest("-n1", "--max-worker-restart=0", "--devregs-cov")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["devregs: what gw0 touched is not counted: *"])


def test_the_plugin_can_be_left_out(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest("-p", "no:devregs").assert_outcomes(passed=1)
    result = pytester.runpytest("-p", "no:devregs", "--devregs-cov")
    result.stderr.fnmatch_lines(["*unrecognized arguments: --devregs-cov*"])


def test_a_run_without_devregs_is_left_alone(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_it():
            for name in ("coverage", "testing", "hardware", "snapshot", "cli"):
                assert f"devregs.{name}" not in sys.modules
        """
    )
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*devregs:*")
