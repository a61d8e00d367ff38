"""Every call makes exactly the accesses the contract says, and the page says what is tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import DOC, GROUPS, Bench
from tracer import SUPPORTED

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="the tracer single-steps on x86_64 only")

CASES = [
    pytest.param(statement, region, accesses, id=statement)
    for _, region, cases in GROUPS
    for statement, accesses in cases
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("contract"))
    yield bench
    bench.close()


@pytest.mark.parametrize(("statement", "region", "accesses"), CASES)
def test_accesses(bench: Bench, statement: str, region: str, accesses: str) -> None:
    assert bench.run(statement, region) == accesses


def test_the_page_says_what_is_tested() -> None:
    page = Path(DOC).read_text()
    for _, _, cases in GROUPS:
        for statement, accesses in cases:
            cell = statement.replace("|", "\\|")
            assert f"| `{cell}` | {accesses or 'none'} |" in page
