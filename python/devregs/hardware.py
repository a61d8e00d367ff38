"""The hardware's side of a mock: what the device itself does while software drives it.

gpio = devregs.mock("pl061")
gpio.hw.RIS.PIN = 0x01              # software may only read it
assert gpio.hw.IE.read() == 0       # what software wrote, write-only bits included

@gpio.hw["IC"].on_write
def acknowledged(value: int) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ._devregs import AccessError, Array, Device, Group, MapError, Register, _attributes, _Mock
from ._text import near

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import NoReturn

Hook = TypeVar("Hook", bound=Callable[[int], Any])


class Part:
    """A group, array, register or field as the device itself sees it, which nothing keeps from changing it.

    Registers of a group and fields of a register are attributes: reading a field gives its number,
    assigning sets it. `hw["CTRL.EN"]` is the field itself, to hang a hook on.
    """

    __slots__ = ("_mock", "_path", "_soft")
    _mock: _Mock
    _path: str
    _soft: Any

    def __init__(self, mock: _Mock, path: str, soft: Any) -> None:
        object.__setattr__(self, "_mock", mock)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_soft", soft)

    def __getattr__(self, name: str) -> Any:
        return self._part(_part_named(self, self._soft, name, self._path))

    def __getitem__(self, key: int | slice | str) -> Any:
        if isinstance(key, str):
            return self._part(key)
        found = self._soft[key]
        if isinstance(found, list):
            return [Part(self._mock, element.path, element) for element in found]
        return Part(self._mock, found.path, found)

    def _part(self, name: str) -> Any:
        path = f"{self._path}.{name}"
        if isinstance(self._soft, Register):
            return self._mock.get(path)
        return Part(self._mock, path, self._soft[name])

    def __setattr__(self, name: str, value: int | str) -> None:
        self[_part_named(self, self._soft, name, self._path)] = value

    def __setitem__(self, key: int | str, value: int | str) -> None:
        path = f"{self._path}.{key}" if isinstance(key, str) else self._soft[key].path
        self._mock.set(path, value)

    def __contains__(self, asked: object) -> bool:
        if isinstance(asked, Part):
            return asked._mock is self._mock and asked._soft in self._soft
        return asked in self._soft

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._soft, Array):
            return (Part(self._mock, element.path, element) for element in self._soft)
        return iter(self._soft)

    def __len__(self) -> int:
        return len(self._soft)

    def __bool__(self) -> bool:
        if self._holds():
            raise TypeError(
                f"the hardware side of {self._path} is neither true nor false: ask what it holds, by .read()"
            )
        return True

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | float | str) and self._holds():
            raise TypeError(
                f"comparing the hardware side of {self._path} with {type(other).__name__} would ask for the object "
                f"itself, not for what it holds: compare what its .read() gives"
            )
        if not isinstance(other, Part):
            return NotImplemented
        return self._mock is other._mock and self._path == other._path

    def __hash__(self) -> int:
        return hash((id(self._mock), self._path))

    def __copy__(self) -> Part:
        return self

    def __deepcopy__(self, memo: object) -> Part:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: it belongs to a mock of this process")

    def _holds(self) -> bool:
        """Whether it is a register or field, and not what has registers in it."""
        return not isinstance(self._soft, Group | Array)

    def __dir__(self) -> list[str]:
        own = [name for name in dir(type(self)) if not name.startswith("_")]
        return own + _parts(self, self._soft)

    def __repr__(self) -> str:
        return f"<hardware side of {self._path}>"

    def read(self) -> int:
        """What the register or field holds. No access of software's: nothing changes."""
        return self._mock.get(self._path)

    def write(self, value: int | str) -> None:
        """Let the register or field hold this: a number that fits, or a name of the field's values."""
        self._mock.set(self._path, value)

    def on_read(self, hook: Hook) -> Hook:
        """Call `hook(value)` before each read by software, with what would be read.

        If it returns an int that fits, the register or field holds that from then on, and the read gives it;
        MapError for another one. What it raises comes out of the read. Reads through views call no hooks.
        """
        self._mock.on_read(self._path, hook)
        return hook

    def on_write(self, hook: Hook) -> Hook:
        """Call `hook(value)` after each write by software, with what was written.

        The map's effects and rules come first. If it returns an int that fits, the register or field holds
        that from then on; MapError for another one. What it raises comes out of the write. Writes through views call no hooks.
        """
        self._mock.on_write(self._path, hook)
        return hook

    def push(self, *words: int) -> None:
        """Words come into the FIFO for software to read. Raises MapError where it has no room."""
        for word in words:
            if not self._mock.push(self._path, word):
                raise MapError(f"{self._path}: the FIFO is full; this word is lost: {word:#x}")

    def pop(self) -> int:
        """Take the oldest word that software wrote to the FIFO. Raises MapError where there is none."""
        word = self._mock.pop(self._path)
        if word is None:
            raise MapError(f"{self._path}: software has written no word that was not taken yet")
        return word

    def pop_all(self) -> list[int]:
        """Take all words that software wrote to the FIFO, oldest first."""
        return [self.pop() for _ in range(self.sent)]

    @property
    def waiting(self) -> int:
        """How many words of the FIFO wait for software to read them."""
        return self._mock.level(self._path)[0]

    @property
    def sent(self) -> int:
        """How many words that software wrote to the FIFO wait to be taken, be they in it or sent already."""
        return self._mock.level(self._path)[1]

    @property
    def lost(self) -> int:
        """How many words found the FIFO full, from either side."""
        return self._mock.level(self._path)[2]

    def fail(self, times: int | None = None) -> None:
        """Let accesses that reach the register or field raise BusError: so many times, or until `hw.heal()`."""
        self._mock.fail(self._path, times)

    def stick(self, value: int | str) -> None:
        """Let the register or field read as this whatever it holds, until `hw.heal()`."""
        self._mock.stick(self._path, value)


class _Absent:
    """The hardware's side of a device that is no mock: whatever is asked of it is refused."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AccessError(
            f"{self._device.name}: is at {self._device.source}, and only a mock has a hardware side that "
            f"software reaches: devregs.mock(map)"
        )


class Hardware:
    """The whole device from its own side. Registers and groups are attributes; `hw["CH[3].CTRL"]` by path."""

    __slots__ = ("_device", "_mock")
    _device: Device
    _mock: _Mock

    def __init__(self, device: Device, mock: _Mock | None) -> None:
        object.__setattr__(self, "_device", device)
        object.__setattr__(self, "_mock", mock or _Absent(device))

    def __bool__(self) -> bool:
        """Whether there is one: the device is a mock."""
        return not isinstance(self._mock, _Absent)

    def __getattr__(self, name: str) -> Any:
        name = _part_named(self, self._device, name, self._device.name)
        return Part(self._mock, name, self._device[name])

    def __getitem__(self, path: str) -> Part:
        # A field is no object of the device's: asking for it would read it.
        register, _, field = path.rpartition(".")
        if register in self._device and isinstance(self._device[register], Register):
            self._mock.get(path)
            return Part(self._mock, f"{self._device[register].path}.{field}", None)
        soft = self._device[path]
        return Part(self._mock, soft.path, soft)

    def __setattr__(self, name: str, value: int | str) -> None:
        self[_part_named(self, self._device, name, self._device.name)] = value

    def __contains__(self, path: str) -> bool:
        return path in self._device

    def __iter__(self) -> Iterator[str]:
        return iter(self._device)

    def __len__(self) -> int:
        return len(self._device)

    def __eq__(self, other: object) -> bool:
        return self._device is other._device if isinstance(other, Hardware) else NotImplemented

    def __hash__(self) -> int:
        return hash((Hardware, self._device))

    def __copy__(self) -> Hardware:
        return self

    def __deepcopy__(self, memo: object) -> Hardware:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot pickle {self!r}: it belongs to a mock of this process")

    def __setitem__(self, path: str, value: int | str) -> None:
        self._mock.set(path, value)

    def __dir__(self) -> list[str]:
        own = [name for name in dir(type(self)) if not name.startswith("_")]
        return own + _parts(self, self._device)

    def __repr__(self) -> str:
        return f"<hardware side of {self._device.name}>"

    @property
    def time(self) -> float:
        """Seconds since the mock was made, by its own clock."""
        now: float = self._mock.now()
        return now

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due in it happen, each at its time. Takes no real time.

        Raises MapError for a negative time, and beyond a thousand years in all. Ctrl-C ends it, with the clock
        where it has got to.
        """
        self._mock.advance(seconds)

    def interrupt(self) -> None:
        """Ask for one interrupt."""
        self._mock.interrupt()

    def rule(self, text: str = "", **keys: Any) -> None:
        """Add a behaviour rule, as a map has it: by keyword, or as the text of `[[behaviour]]` tables.

        A `-` of a key is `_` here, and the key `if` is `if_`:
        `hw.rule(on_write="CTRL.START=1", after=0.002, set={"STATUS.READY": 1})`.
        Raises MapError where it is wrong.
        """
        self._mock.rule(text, keys)

    def reset(self) -> None:
        """Everything is as after the device's reset. Rules, hooks and faults stay."""
        self._mock.reset()

    def vanish(self, how: str = "fault") -> None:
        """The whole device is gone, until `heal()`: accesses raise BusError ("fault"), or read all ones ("ones")."""
        self._mock.vanish(how)

    def heal(self) -> None:
        """End all faults: what fails, what is stuck, and a device that is gone."""
        self._mock.heal()

    def remove_hooks(self) -> None:
        """Take all hooks away."""
        self._mock.remove_hooks()


def _names(soft: Any) -> list[str]:
    """The names that the map gave: of registers and groups, or of fields."""
    if isinstance(soft, Register):
        return [field.name for field in soft.fields]
    return list(soft) if isinstance(soft, Group) else []


def _holder(of: Part | Hardware) -> str:
    return "hw" if isinstance(of, Hardware) else "hw[…]"


def _parts(of: Part | Hardware, soft: Any) -> list[str]:
    """What its parts are called as attributes."""
    return list(_attributes(_holder(of), _names(soft)))


def _part_named(of: Part | Hardware, soft: Any, attribute: str, at: str) -> str:
    """The name, in the map, of the part that an attribute stands for. It is the same, unless the class has such an attribute."""
    taken = hasattr(type(of), attribute)
    if not taken and not attribute.startswith("__") and soft is not None and attribute in soft:
        return attribute
    attributes = _attributes(_holder(of), _names(soft))
    if attribute in attributes:
        return attributes[attribute]
    if taken:
        raise AttributeError(f"{at}: {attribute} belongs to every hardware side and cannot be set")
    known = [*attributes, *_attributes(_holder(of))]
    raise AttributeError(f"{at}: the hardware side has no {attribute!r}{near(attribute, known)}")


def rule_text(keys: Mapping[str, Any]) -> str:
    """A rule given by keywords, as the text of a `[[behaviour]]` table."""
    lines = ["[[behaviour]]"]
    for key, value in keys.items():
        lines.append(f"{key.rstrip('_').replace('_', '-')} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{_toml(str(key))} = {_toml(item)}" for key, item in value.items())
            + " }"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # A basic string of TOML escapes as JSON does.
        import json

        return json.dumps(value)
    if isinstance(value, int) and value > 2**63 - 1:
        return f'"{value:#x}"'
    if isinstance(value, float):
        # Times are whole nanoseconds.
        return f"{value:.9f}"
    return repr(value)
