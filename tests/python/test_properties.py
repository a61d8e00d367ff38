"""Random maps against a model of the hardware: what is written is what was meant, and nothing else.

The device is plain memory, so that what a call stores can be seen: the memory afterwards. The model
then says what a device would have made of that word.
"""

from __future__ import annotations

from typing import Any

import devregs
import pytest
from hardware import BASE, NEUTRAL, ON_READ, SIZE, Memory, Model, Part, device, models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

REFUSED = (devregs.MapError, IndexError, KeyError, TypeError)


def quick(examples: int) -> settings:
    """As many examples, the same ones at each run, however slow the machine is."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def store(dev: Any, model: Model, how: str, named: dict[Part, int | str]) -> None:
    """Writes fields in one of the ways there are."""
    reg = dev[model.path]
    values = {part.name: value for part, value in named.items()}
    if len(values) > 1:
        how = "mapping" if how in ("item", "path") else "keywords"
    (name, value), *_ = values.items()
    match how:
        case "attribute":
            setattr(reg, name, value)
        case "item":
            reg[name] = value
        case "path":
            dev[f"{model.path}.{name}"] = value
        case "mapping":
            reg.modify(values)
        case _:
            reg.modify(**values)


@st.composite
def choices(draw: Any, model: Model) -> dict[Part, int | str]:
    """Some fields that share no bits, each with a number that fits it or one of its names."""
    order = draw(st.permutations(model.parts))
    named: dict[Part, int | str] = {}
    for part in order[: draw(st.integers(1, len(order)))]:
        if not any(part.mask & other.mask for other in named):
            numbers = st.integers(0, (1 << part.width) - 1)
            names = [st.sampled_from(sorted(part.values))] if part.values else []
            named[part] = draw(st.one_of(numbers, *names))
    return named


WAYS = st.sampled_from(["attribute", "item", "path", "mapping", "keywords"])


@quick(300)
@given(st.data())
def test_a_write_of_some_fields_means_them_and_nothing_else(data: st.DataObject) -> None:
    model = data.draw(models().filter(lambda model: model.parts))
    named = data.draw(choices(model))
    how, shared = data.draw(WAYS), data.draw(st.booleans())
    content = data.draw(st.binary(min_size=SIZE, max_size=SIZE))
    bits = mask = 0
    for part, value in named.items():
        mask |= part.mask
        bits |= (part.values[value] if isinstance(value, str) else value) << part.lsb
    possible = (
        model.access != "ro"
        and all(part.writable for part in named)
        and all(model.can_spare(part) for part in model.others(mask))
    )
    with device(model.toml, shared=shared) as dev:
        memory = Memory(dev, model)
        words = []
        # Twice, with all bits turned round: what is stored must not come from a read that is not allowed.
        for before in (content, bytes(byte ^ 0xFF for byte in content)):
            memory.fill(before)
            if not possible:
                with pytest.raises(devregs.AccessError):
                    store(dev, model, how, named)
                assert memory.all() == before
                continue
            store(dev, model, how, named)
            after = memory.all()
            assert memory.beside(after) == memory.beside(before)
            old, word = memory.word(before), memory.word(after)
            assert word & mask == bits
            for part in model.others(mask):
                assert model.spared(part, old, word), f"{part.name}: {old:#x} became {word:#x}"
            model.check_reserved(old, word)
            words.append(word)
        if possible and not model.loads:
            assert words[0] == words[1]


@pytest.mark.parametrize("how", ["attribute", "item", "path", "mapping", "keywords"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("value", [1, "GO"])
def test_of_two_fields_that_share_bits_each_is_what_it_is(
    how: str, shared: bool, value: int | str
) -> None:
    writes, reads = (
        '{ bits = "7:0", access = "wo", values.GO = 1 }',
        '{ bits = "7:0", access = "ro" }',
    )
    toml = f"registers.A = {{ offset = {BASE}, fields.W = {writes}, fields.R = {reads} }}\n"
    parts = [Part(name, 0, 8, "", "", None, None, False, {}) for name in "WR"]
    model = Model("A", toml, 32, "little", "rw", None, None, "preserve", 0, tuple(parts))
    with device(toml, shared=shared) as dev:
        store(dev, model, how, {parts[0]: value})
        assert dev.A.R == dev.A.read() == 1
        for action in (
            lambda: store(dev, model, how, {parts[1]: 2}),
            lambda: dev.A.W,
            lambda: dev.A.wait(W=1, timeout=0),
        ):
            with pytest.raises(devregs.AccessError):
                action()
        assert dev.A.read() == 1


@quick(150)
@given(st.data())
def test_a_value_that_does_not_fit_is_refused_and_nothing_written(data: st.DataObject) -> None:
    model = data.draw(models().filter(lambda model: model.parts))
    part = data.draw(st.sampled_from(model.parts))
    beyond = st.integers(1 << part.width) | st.integers(max_value=-1)
    wrong = data.draw(beyond | st.sampled_from(["", "V", "NOSUCH", 1.0, None, b"1"]))
    with device(model.toml) as dev:
        memory = Memory(dev, model)
        memory.fill(bytes(range(SIZE)))
        # A wrong value is told before or after a field that cannot be written.
        with pytest.raises((devregs.MapError, TypeError, devregs.AccessError)):
            store(dev, model, data.draw(WAYS), {part: wrong})
        number = wrong if isinstance(wrong, int) else 1 << model.width
        if number >> model.width:
            with pytest.raises((devregs.MapError, devregs.AccessError)):
                dev[model.path].write(number)
        assert memory.all() == bytes(range(SIZE))


@quick(150)
@given(st.data())
def test_what_is_read_is_what_is_there(data: st.DataObject) -> None:
    model = data.draw(models())
    content = data.draw(st.binary(min_size=SIZE, max_size=SIZE))
    with device(model.toml, shared=data.draw(st.booleans())) as dev:
        memory = Memory(dev, model)
        memory.fill(content)
        reg, word = dev[model.path], memory.word(content)
        assert (reg.path, reg.offset, reg.width) == (model.path, BASE, model.width)
        if model.access == "wo":
            with pytest.raises(devregs.AccessError):
                reg.read()
        else:
            assert reg.read() == word
        for part in model.parts:
            want = (word & part.mask) >> part.lsb
            assert reg.decode(word)[part.name] == want
            if not part.readable:
                with pytest.raises(devregs.AccessError):
                    getattr(reg, part.name)
                continue
            for found in (
                getattr(reg, part.name),
                reg[part.name],
                dev[f"{model.path}.{part.name}"],
            ):
                assert found == want
                assert (getattr(found, "name", None) in part.values) == (
                    want in part.values.values()
                )
        assert memory.all() == content


@quick(150)
@given(st.data())
def test_a_wait_ends_where_the_fields_are_there(data: st.DataObject) -> None:
    model = data.draw(models().filter(lambda model: model.parts))
    named = data.draw(choices(model))
    content = data.draw(st.binary(min_size=SIZE, max_size=SIZE))
    with device(model.toml) as dev:
        memory = Memory(dev, model)
        memory.fill(content)
        reg, word = dev[model.path], memory.word(content)
        wanted = {part.name: value for part, value in named.items()}
        there = {part.name: (word & part.mask) >> part.lsb for part in named}
        if not all(part.readable for part in named):
            for fields in (wanted, there):
                with pytest.raises(devregs.AccessError):
                    reg.wait(fields, timeout=0)
            return
        assert reg.wait(there, timeout=0) == word
        numbers = {p.name: p.values[v] if isinstance(v, str) else v for p, v in named.items()}
        if numbers == there:
            assert reg.wait(wanted, timeout=0) == word
        else:
            with pytest.raises(devregs.WaitTimeout):
                reg.wait(wanted, timeout=0)
        assert memory.all() == content


@quick(150)
@given(st.data())
def test_what_is_encoded_decodes_to_the_same(data: st.DataObject) -> None:
    model = data.draw(models().filter(lambda model: model.parts))
    named = data.draw(choices(model))
    with device(model.toml) as dev:
        reg = dev[model.path]
        value = reg.encode({part.name: value for part, value in named.items()})
        decoded = reg.decode(value)
        mask = 0
        for part, number in named.items():
            assert decoded[part.name] == (
                part.values[number] if isinstance(number, str) else number
            )
            mask |= part.mask
        # The rest is neutral where it acts when written, and the reset value elsewhere.
        for part in model.others(mask):
            if part.on_write or part.self_clear:
                neutral = part.mask if NEUTRAL.get(part.on_write or "") else 0
                assert value & part.mask == neutral
            elif part.writable:
                assert value & part.mask == model.reset & part.mask
        if model.on_write and model.access != "ro":
            model.check_reserved(0, value)


TREE = """
registers.CTRL = { offset = 0, fields.EN = 0, fields.read = 1 }
registers.DATA = { offset = 4, count = 3, fields.F = 0 }
registers.class = { offset = 0x10 }
registers."A+é" = { offset = 0x14, count = 2 }
[regions.r.groups.CH]
offset = 0x20
count = 2
stride = 0x10
registers.CTRL = { offset = 0, fields.EN = 0 }
groups.IN = { offset = 4, registers.R = { offset = 0 } }
"""
WORDS = [
    "CTRL",
    "EN",
    "read",
    "DATA",
    "F",
    "class",
    "A+é",
    "CH",
    "IN",
    "R",
    "[0]",
    "[1]",
    "[2]",
    ".",
]
PATHS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="CTRLENDAF0123456789.[]x-+_ ", max_size=20),
    st.lists(st.sampled_from([*WORDS, "..", "[-1]", "[0x1]", "[]", "[", "]"]), max_size=7).map(
        "".join
    ),
    st.integers().map(lambda index: f"DATA[{index}]"),
)


@quick(300)
@given(st.lists(PATHS, min_size=1, max_size=20), st.integers() | st.text(max_size=3))
def test_any_text_is_a_path_or_is_refused(paths: list[str], value: int | str) -> None:
    with device(TREE) as dev:
        for path in paths:
            try:
                found = dev[path]
            except REFUSED as error:
                shown = str(error)
                assert "\x1b" not in shown
                with pytest.raises(REFUSED):
                    dev[path] = value
                continue
            if isinstance(found, devregs.Register):
                assert dev[found.path] is found or "[" in found.path
                assert dev[found.path].path == found.path
            try:
                dev[path] = value
            except REFUSED:
                assert (
                    isinstance(value, str) or not isinstance(found, devregs.Register) or value >> 32
                )


@pytest.mark.parametrize(
    "path", [0, None, b"CTRL", ("CTRL",), 1.5, object(), "\ud800", slice(None)]
)
def test_what_is_no_text_is_no_path(path: Any) -> None:
    with device(TREE) as dev, pytest.raises((*REFUSED, UnicodeEncodeError)):
        dev[path]


def test_the_model_is_run_on_real_maps_of_all_kinds() -> None:
    """Guards against a generator that makes only one kind of map."""
    seen: set[str] = set()

    @quick(150)
    @given(models())
    def look(model: Model) -> None:
        seen.update([model.access, model.reserved, model.path, f"{model.width}", model.order])
        seen.update(f"field {part.access}" for part in model.parts)
        seen.update(part.on_write or "plain" for part in model.parts)
        seen.update(f"read {part.on_read}" for part in model.parts)
        with device(model.toml):
            pass

    look()
    assert seen >= {"rw", "ro", "wo", "zero", "one", "G[2].R[1]", "8", "64", "big", *NEUTRAL}
    assert seen >= {"field rw-once", "field wo", "plain", *(f"read {effect}" for effect in ON_READ)}
