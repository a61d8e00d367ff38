"""Rules of behaviour in words."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from .._text import clean, summary

Rule = dict[str, Any]
Row = tuple[str, str, str]

_INDEX = re.compile(r"\[(\d+)\]")


def rows(rules: list[Rule]) -> list[Row]:
    """When, what and why, for each rule; those of one table and an array's elements in one row."""
    pairs = [(rule["place"], _row(rule)) for rule in rules]
    groups = groupby(pairs, lambda pair: (pair[0], *(_INDEX.sub("[]", text) for text in pair[1])))
    found: list[Row] = []
    for _, group in groups:
        first, *more = [row for _, row in group]
        when, what, doc = zip(first, more[-1] if more else first, strict=True)
        found.append((_spread(*when), _spread(*what), _spread(*doc)))
    return found


def _row(rule: Rule) -> Row:
    always = rule["trigger"] == "always"
    when = _trigger(rule["trigger"])
    if rule["condition"] is not None:
        when += f", if {_text(rule['condition'])}"
    match rule["delay"]:
        case {"time": time}:
            when += f", after {_time(time)}"
        case {"reads": reads}:
            when += f", after {reads} read{'s' * (reads != 1)}"
    what = "; ".join(_action(action, always) for action in rule["actions"])
    return when, what, summary(rule["doc"])


def _trigger(trigger: Any) -> str:
    match trigger:
        case {"written": parts}:
            return f"on write of {_parts(parts)}"
        case {"input": parts}:
            return f"on input to {_parts(parts)}"
        case {"read": parts}:
            return f"on read of {', '.join(clean(part['path']) for part in parts)}"
        case {"every": time}:
            return f"every {_time(time)}"
    return "always"


def _parts(parts: list[Any]) -> str:
    return ", ".join(
        clean(part["path"]) + ("" if value is None else f"={value:#x}") for part, value in parts
    )


def _action(action: Any, always: bool) -> str:
    match action:
        case {"set": [part, value]}:
            return f"{clean(part['path'])} = {_text(value)}"
        case {"push": [part, value]}:
            return f"push {_text(value)} to {clean(part['path'])}"
        case {"send": part}:
            return f"send {clean(part['path'])}"
        case {"flush": part}:
            return f"flush {clean(part['path'])}"
        case {"interrupt": value} if always:
            return f"the interrupt line is {_text(value)}"
        case {"interrupt": value}:
            return "interrupt" if value == "1" else f"interrupt if {_text(value)}"
    return "reset"


def _text(expression: str) -> str:
    """An expression in one line."""
    return clean(" ".join(expression.split()))


def _time(time: dict[str, int]) -> str:
    """Seconds, or the smaller unit that tells it exactly."""
    nanoseconds = time["secs"] * 10**9 + time["nanos"]
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if nanoseconds % size == 0:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"


def _spread(first: str, last: str) -> str:
    """The indices of a row and of the last one like it: `CH[0..3].CTRL`."""
    between, ours, theirs = _INDEX.split(first)[::2], _INDEX.findall(first), _INDEX.findall(last)
    indices = [f"[{a}]" if a == b else f"[{a}..{b}]" for a, b in zip(ours, theirs, strict=True)]
    return "".join(text + index for text, index in zip(between, [*indices, ""], strict=True))
