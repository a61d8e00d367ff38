"""The base of the enumerations that named values of fields are members of."""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class NamedValue(IntEnum):
    """A number of a field that the map names: an int with a `name`.

    It equals its number, never a text: comparing it with one raises TypeError, as it is likely meant for `name`.
    Other processes know no map, so pickled it is the number.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        return int, (int(self),)

    def __copy__(self) -> NamedValue:
        return self

    def __deepcopy__(self, memo: object) -> NamedValue:
        return self
