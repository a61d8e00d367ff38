"""What the tables say of Python's ways, where it does not depend on the C library."""

from __future__ import annotations

import alternatives
import pytest
import tracer
from alternatives import Row

if not tracer.SUPPORTED:
    pytest.skip("the tracer runs on x86_64 Linux only", allow_module_level=True)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.way: row for row in alternatives.rows()}


@pytest.mark.parametrize(
    ("way", "read", "write"),
    [
        ('`view.cast("I")[i]`', "R4", "W4"),
        ("`c_uint32.from_buffer(…).value`", "R4", "R4, W4"),
        ("field by ctypes bit-field", "R4", "R4, W4"),
        ('field by `view.cast("I")[i] |= 7`', "", "R4, W4"),
    ],
)
def test_ways_that_are_the_same_everywhere(
    rows: dict[str, Row], way: str, read: str, write: str
) -> None:
    assert rows[way] == Row(way, read, write)


def test_pack_into_never_writes_once(rows: dict[str, Row]) -> None:
    written = rows["`struct.unpack_from` / `pack_into`"].write
    assert written != "W4"
    assert "R" not in written


def test_the_table_is_markdown_with_three_columns() -> None:
    text = alternatives.table([Row("`a |= b`", "", "R4, W4")])
    assert text.splitlines() == [
        "| way | read | write |",
        "| --- | --- | --- |",
        r"| `a \|= b` | - | R4, W4 |",
    ]


def test_the_tables_are_the_same_every_time(rows: dict[str, Row]) -> None:
    assert list(rows.values()) == alternatives.rows()
    assert alternatives.block_rows() == alternatives.block_rows()
    assert "x86_64" in alternatives.facts()
