"""A live stand-in: mocks whose registers other programs map, in a tree like the one the kernel shows.

`devregs.testing.serve` and `devregs serve-mock` are made of this. The tree has, for each device, what Linux
has for a UIO device: `dev/uio0`, here a plain file, and `sys/class/uio/uio0`. Beside the file is a socket,
`dev/uio0.irq`, for interrupts, which a plain file cannot have.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._devregs import (
    Device,
    Map,
    SourceError,
    _Mock,
    _shared_mock,
    _source,
    _uio_source,
    load,
    load_board,
)
from .irqsocket import IrqSocket

if TYPE_CHECKING:
    from .hardware import Hardware

PAGE = os.sysconf("SC_PAGESIZE")

# Says that a tree is ours, and whose: its process holds a lock on it for as long as it lives.
MARK = ".devregs-stand-in"

# What a write of another program was: the source, the register, the value.
Seen = Callable[[str, str, int], object]


class UioMap(NamedTuple):
    """One memory map of a device, as sysfs describes it."""

    number: int
    name: str
    # Where it begins in the device's file, and its size, in bytes.
    start: int
    size: int
    # The PCI base address register it stands for.
    bar: int | None


@dataclass(frozen=True)
class Served:
    """A device that other programs can map."""

    # What `devregs.open` takes, beside the root.
    source: str
    # The number of the UIO device.
    number: int
    name: str
    root: Path
    maps: list[UioMap]
    # Where each region begins in the file, in bytes.
    regions: dict[str, int]
    # The mock, opened by this process.
    device: Device

    @property
    def node(self) -> Path:
        """The file to map."""
        return self.root / f"dev/uio{self.number}"

    @property
    def sysfs(self) -> Path:
        """The folder that describes it."""
        return self.root / f"sys/class/uio/uio{self.number}"

    @property
    def map(self) -> Map:
        """The device map."""
        return self.device.map

    @property
    def hw(self) -> Hardware:
        """The hardware's side."""
        return self.device.hw


class StandIn:
    """Devices that are served under one root: in turn, and by source."""

    def __init__(self, root: Path, devices: list[Served]) -> None:
        self.root = root
        self.devices = devices
        self.ended = threading.Event()
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[Served]:
        return iter(self.devices)

    def __len__(self) -> int:
        return len(self.devices)

    def __getitem__(self, key: int | str) -> Served:
        if isinstance(key, int):
            return self.devices[key]
        for served in self.devices:
            if key in (served.source, served.name):
                return served
        raise KeyError(key)

    @property
    def hw(self) -> Hardware:
        """The hardware's side of the first device."""
        return self.devices[0].hw

    @property
    def source(self) -> str:
        """The source of the first device."""
        return self.devices[0].source

    def check(self) -> None:
        """Raise what ended the serving, if something did: a hook's exception; SourceError without the files."""
        if self._failure is not None:
            raise self._failure

    def _serve(
        self, lines: list[IrqSocket], poll: float, stop: threading.Event, seen: Seen | None
    ) -> None:
        try:
            while not stop.wait(poll):
                for served, line in zip(self.devices, lines, strict=True):
                    for path, value in mock_of(served.device).sync():
                        if seen is not None:
                            seen(served.source, path, value)
                    line.look()
        except BaseException as failure:
            self._failure = failure
        finally:
            self.ended.set()


@contextlib.contextmanager
def serve(
    map: str | os.PathLike[str] | Map,
    at: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    poll: float = 0.001,
    mark: bool = False,
    seen: Seen | None = None,
) -> Iterator[StandIn]:
    """Let other programs map a mock of this device map as UIO device `name`, while the block runs.

    `at`: the folder to make the tree in; it is made if it is not there, must be empty, and is empty
    again at the end. Without it, a new one among the temporary files. `name`: by default the map's.
    `poll`: seconds between two looks at what others have written. `mark`: let registers whose bits act
    when written show 1 in the highest bit that no field covers, so that a write of 1 to a bit that is
    shown as 1 is seen, if it leaves the mark 0. `seen`: called with source, register and value of each
    write that was seen, in another thread.

    Raises SourceError where the folder cannot be used; at the end of the block, what a hook raised.
    """
    device_map = map if isinstance(map, Map) else load(map)
    with serve_devices(
        [(device_map, _uio_source(name or device_map.name))], at, poll=poll, mark=mark, seen=seen
    ) as made:
        yield made


@contextlib.contextmanager
def serve_board(
    path: str | os.PathLike[str],
    at: str | os.PathLike[str] | None = None,
    *,
    poll: float = 0.001,
    mark: bool = False,
    seen: Seen | None = None,
) -> Iterator[StandIn]:
    """The same with all devices of a board map, whose sources must be `uio:NAME` or `uio:NUMBER`."""
    devices = []
    for name, entry in load_board(path).items():
        if not entry["source"].startswith("uio:"):
            raise SourceError(
                f"device {name} is at {entry['source']}: only UIO devices have a stand-in; "
                "write a board map for the test with uio: in its place"
            )
        devices.append((entry["map"], entry["source"]))
    with serve_devices(devices, at, poll=poll, mark=mark, seen=seen) as made:
        yield made


@contextlib.contextmanager
def serve_devices(
    devices: Sequence[tuple[Map, str]],
    at: str | os.PathLike[str] | None,
    *,
    poll: float,
    mark: bool,
    seen: Seen | None,
) -> Iterator[StandIn]:
    """The same with these maps, each at its source."""
    if not 0 < poll <= 1:
        raise SourceError(
            f"a look each {poll} s: between two looks are more than 0 and at most 1 second"
        )
    numbers = number(source for _, source in devices)
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(claimed(at))
        made = StandIn(root, [])
        lines = []
        for (device_map, source), index in zip(devices, numbers, strict=True):
            served = build(root, device_map, source, index, mark)
            stack.callback(served.device.close)
            made.devices.append(served)
            line = IrqSocket(mock_of(served.device), served.node, served.sysfs / "event")
            stack.callback(line.close)
            lines.append(line)
        thread = threading.Thread(
            target=made._serve, args=(lines, poll, stop, seen), name="devregs stand-in", daemon=True
        )
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        for served in made:
            # Last: a program that waits for the device to come looks for its name.
            put(served.sysfs / "name", served.name)
        yield made
    made.check()


def mock_of(device: Device) -> _Mock:
    """The mock behind a device."""
    mock: _Mock = device.hw._mock
    return mock


def number(sources: Iterator[str]) -> list[int]:
    """The number of each UIO device: the one its source says, or the next that is free."""
    places = []
    for source in sources:
        place = _source(source)[1]
        if place is None:
            raise SourceError(
                f"{source}: a stand-in has a name or a number, and no address: uio:NAME, uio:NUMBER"
            )
        if place in places:
            raise SourceError(f"{source}: two devices cannot be at one source")
        places.append(place)
    taken = {place for place in places if isinstance(place, int)}
    free = (index for index in range(len(places) + len(taken)) if index not in taken)
    return [place if isinstance(place, int) else next(free) for place in places]


def layout(data: dict[str, Any]) -> tuple[list[UioMap], list[int]]:
    """The maps of a UIO device with all regions of a device map, and where each region begins in its file.

    Map N is mapped at N pages. What lies there in a plain file may be the second page of the map before,
    so a map begins behind it, and sysfs tells how much further: programs add that `offset` anyway.
    """
    homes: dict[int | str, list[dict[str, Any]]] = {}
    for region in data["regions"]:
        home = region["uio_map"]
        if home is None:
            home = 0 if region["pci_bar"] is None else f"BAR{region['pci_bar']}"
        homes.setdefault(home, []).append(region)
    taken = {home for home in homes if isinstance(home, int)}
    free = (index for index in range(2 * len(homes)) if index not in taken)
    ordered = {
        home if isinstance(home, int) else next(free): home for home in sorted(homes, key=str)
    }
    maps: list[UioMap] = []
    starts: dict[str, int] = {}
    end = 0
    for index, home in sorted(ordered.items()):
        regions = homes[home]
        start = max(end, index * PAGE)
        size = -(-max(region["offset"] + region["size"] for region in regions) // PAGE) * PAGE
        end = start + size
        name = home if isinstance(home, str) else data["name"]
        maps.append(UioMap(index, name, start, size, regions[0]["pci_bar"]))
        starts.update((region["name"], start + region["offset"]) for region in regions)
    return maps, [starts[region["name"]] for region in data["regions"]]


def build(root: Path, device_map: Map, source: str, index: int, mark: bool) -> Served:
    """Make the files of one device, and the mock over them."""
    import json

    data = json.loads(device_map.to_json())
    maps, starts = layout(data)
    place = _source(source)[1]
    name = place if isinstance(place, str) else device_map.name
    sysfs = root / f"sys/class/uio/uio{index}"
    for uio_map in maps:
        # The address is the place in the file: there is no other one.
        before = uio_map.number * PAGE
        numbers = {
            "addr": before,
            "offset": uio_map.start - before,
            "size": uio_map.start - before + uio_map.size,
        }
        folder = sysfs / f"maps/map{uio_map.number}"
        put(folder / "name", uio_map.name)
        for key, value in numbers.items():
            put(folder / key, f"0x{value:016x}")
    compatible = [text for text in data["compatible"] if not text.startswith("pci:")]
    (sysfs / "device/of_node").mkdir(parents=True)
    (sysfs / "device/of_node/compatible").write_bytes(
        b"".join(text.encode() + b"\0" for text in compatible)
    )
    bars = {uio_map.bar: uio_map for uio_map in maps if uio_map.bar is not None}
    if bars:
        put_bars(sysfs / "device", data["compatible"], bars)
    put(sysfs / "version", "devregs")
    put(sysfs / "event", "0")
    node = root / f"dev/uio{index}"
    node.parent.mkdir(exist_ok=True)
    with node.open("xb") as file:
        file.truncate(maps[-1].start + maps[-1].size)
    regions = dict(zip((region["name"] for region in data["regions"]), starts, strict=True))
    device = _shared_mock(device_map, node, starts, mark)
    return Served(source, index, name, root, maps, regions, device)


def put_bars(folder: Path, compatible: list[str], bars: dict[int, UioMap]) -> None:
    """What sysfs tells of a PCI function: uio_pci_generic's maps are told apart by their addresses."""
    lines = []
    for bar in range(6):
        start, size = (bars[bar].start, bars[bar].size) if bar in bars else (0, 0)
        lines.append(
            f"0x{start:016x} 0x{start + size - 1 if size else 0:016x} 0x{0x200 if size else 0:016x}"
        )
    put(folder / "resource", "\n".join(lines))
    ids = [text.split(":") for text in compatible if text.startswith("pci:")]
    if ids:
        _, vendor, device = ids[0]
        put(folder / "vendor", f"0x{vendor}")
        put(folder / "device", f"0x{device}")


def put(path: Path, text: str) -> None:
    """Write a file as sysfs has them: a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@contextlib.contextmanager
def claimed(at: str | os.PathLike[str] | None) -> Iterator[Path]:
    """A folder that is ours alone, and empty again at the end.

    What a process that was killed has left in it is removed.
    """
    if at is None:
        root = Path(tempfile.mkdtemp(prefix="devregs-"))
        made = True
    else:
        root = Path(at).absolute()
        try:
            made = not root.exists()
            root.mkdir(parents=True, exist_ok=True)
            others = [entry.name for entry in root.iterdir() if entry.name != MARK]
            marked = (root / MARK).exists()
        except OSError as error:
            raise SourceError(error.errno, f"{root}: {error.strerror}") from error
        if others and not marked:
            raise SourceError(
                f"{root} has something else in it ({sorted(others)[0]}): "
                "a stand-in takes an empty folder, or one that is not there yet"
            )
    mark = lock(root / MARK)
    try:
        sweep(root)
        left = [entry.name for entry in root.iterdir() if entry.name != MARK]
        if left:
            raise SourceError(
                f"{root} was a stand-in's, and has something else in it now ({sorted(left)[0]}): "
                "take that away, or choose another folder"
            )
        yield root
    finally:
        sweep(root)
        with contextlib.suppress(OSError):
            (root / MARK).unlink()
        os.close(mark)
        if made:
            # What somebody else has put there stays.
            with contextlib.suppress(OSError):
                root.rmdir()


def lock(mark: Path) -> int:
    """Take the lock of a tree, which the kernel gives up with the process."""
    while True:
        try:
            file = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise SourceError(error.errno, f"{mark}: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(file, 20).decode("ascii", "replace").strip()
            os.close(file)
            raise SourceError(
                f"{mark.parent} is served by process {owner or 'unknown'}: end that one, or choose another folder"
            ) from None
        # The one before may have removed the file meanwhile: then it is not the one that others lock.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(file), mark.stat()):
                os.truncate(file, 0)
                os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
                return file
        os.close(file)


def sweep(root: Path) -> None:
    """Remove the devices under the root, and folders that are then empty."""
    class_uio = root / "sys/class/uio"
    for sysfs in class_uio.glob("uio[0-9]*") if not linked(root, class_uio) else ():
        shutil.rmtree(sysfs)
    dev = root / "dev"
    for node in dev.glob("uio[0-9]*") if not linked(root, dev) else ():
        node.unlink()
    for folder in (class_uio, root / "sys/class", root / "sys", dev):
        with contextlib.suppress(OSError):
            folder.rmdir()


def linked(root: Path, folder: Path) -> bool:
    """Whether a folder under the root is really elsewhere: nothing there is ours."""
    return folder.resolve() != root.resolve() / folder.relative_to(root)
