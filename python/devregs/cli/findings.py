"""What `devregs doctor` looks at: files, rights, lockdown, modules, owners of addresses."""

from __future__ import annotations

import grp
import os
import platform
import pwd
import re
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .target import matching

Entry = dict[str, Any]

# The bit of CAP_SYS_RAWIO (linux/capability.h), which /dev/mem asks for.
_RAWIO = 17


class Finding(NamedTuple):
    """One fact, and what to do about it."""

    # `ok`, `no` where it stands in the way, `?` where it may.
    state: str
    what: str
    remedy: str = ""


def user() -> Iterator[Finding]:
    """Who asks."""
    uid = os.geteuid()
    if uid != 0:
        yield Finding("?", f"you are {_user(uid)}, not root")
    elif _capability(_RAWIO) is False:
        yield Finding("?", "you are root, but without CAP_SYS_RAWIO", "mem: needs that capability")
    else:
        yield Finding("ok", "you are root")


def mem(root: Path, start: int, size: int, scanned: list[Entry]) -> Iterator[Finding]:
    """What may stand between a user and an address of physical memory."""
    yield _node(root / "dev/mem", "it needs CONFIG_DEVMEM, and to be passed into a container")
    yield from _lockdown(root, "opening /dev/mem")
    yield from _strictness(root)
    for entry in scanned:
        for span in entry["maps"]:
            first = span["address"]
            if first is not None and first <= start < first + span["size"]:
                source = entry["source"]
                yield Finding("ok", f"{source} has the address too", f"better open {source}")
    yield from _owner(root, start, start + max(size, 1) - 1)


def uio(root: Path, source: str, scanned: list[Entry]) -> Iterator[Finding]:
    """What may stand between a user and a UIO device."""
    folder = root / "sys/class/uio"
    if not folder.is_dir():
        yield Finding("no", f"there is no {folder}: the uio module is not loaded", "modprobe uio")
        return
    entry = yield from _one(source, scanned)
    if entry is None:
        remedy = "uio_pdrv_genirq (device tree) and uio_pci_generic (PCI, new_id) make them"
        yield Finding("?", "UIO devices appear when a UIO driver is bound to them", remedy)
        return
    for span in entry["maps"]:
        place = span["address"]
        where = "which gets its address when opened" if place is None else f"at {place:#x}"
        yield Finding(
            "ok", f"map {span['index']} ({span['name']}): {span['size']:#x} bytes {where}"
        )
    if not entry["maps"]:
        yield Finding("no", "it has no memory maps", "give its device-tree node a reg property")
    yield from _card(entry)
    rule = f'SUBSYSTEM=="uio", ATTR{{name}}=="{entry["name"]}", GROUP="plugdev", MODE="0660"'
    yield _node(
        Path(entry["path"]),
        "is udev running? In a container, pass the device in",
        f"a udev rule gives it to your group: {rule}",
    )
    yield _fit(entry)


def pci(root: Path, source: str, scanned: list[Entry]) -> Iterator[Finding]:
    """What may stand between a user and a PCI function."""
    entry = yield from _one(source, scanned)
    if entry is None:
        remedy = "echo 1 > /sys/bus/pci/rescan"
        yield Finding("?", "a card that came late is found by a rescan", remedy)
        return
    folder = Path(entry["path"])
    driver = entry["driver"]
    if driver and not driver.startswith(("uio", "vfio")):
        remedy = f"unbind it: echo {folder.name} > {folder}/driver/unbind"
        yield Finding("?", f"the driver {driver} works with the device too", remedy)
    yield from _card(entry)
    yield from _lockdown(root, "mapping PCI resources")
    for span in entry["maps"]:
        yield _node(folder / f"resource{span['index']}", "this kernel cannot map PCI resources")
    yield _fit(entry)


def _card(entry: Entry) -> Iterator[Finding]:
    """Whether the PCI function answers, and which BARs cannot be mapped."""
    card = entry["card"]
    if card is None:
        return
    if card["answers"] is None:
        what = f"whether it answers is not known: {card['folder']}/config cannot be read"
        yield Finding("?", what)
    elif card["answers"]:
        yield Finding("ok", "the PCI function is awake and answers to memory accesses")
    else:
        yield Finding("no", card["problem"], card["remedy"])
    for bar in card["unmappable"]:
        what = (
            f"BAR {bar['index']} cannot be mapped: it is {bar['size']:#x} bytes of {bar['reason']}"
        )
        yield Finding("?", what)


def file(path: Path) -> Iterator[Finding]:
    """What may stand between a user and a file."""
    if path.is_dir():
        yield Finding("no", f"{path} is a folder", "name a file")
        return
    yield _node(path, "make it first: truncate -s SIZE FILE")
    if path.is_file():
        yield Finding("ok", f"it is {path.stat().st_size:#x} bytes long")


def _one(source: str, scanned: list[Entry]) -> Generator[Finding, None, Entry | None]:
    """Say whether there is one such device; return it."""
    fitting = matching(scanned, source)
    kind = source.partition(":")[0]
    if len(fitting) == 1:
        entry = fitting[0]
        what = f"{entry['source']} is {entry['name']}, driver {entry['driver'] or 'none'}"
        yield Finding("ok", what)
        return entry
    if fitting:
        sources = ", ".join(entry["source"] for entry in fitting)
        yield Finding("no", f"several devices are {source}", f"choose one: {sources}")
        return None
    there = [
        f"{entry['source']} ({entry['name']})"
        for entry in scanned
        if entry["source"].startswith(f"{kind}:")
    ]
    yield Finding("no", f"there is no {source}; there is {', '.join(there) or 'none at all'}")
    return None


def _node(
    path: Path, missing: str, refused: str = "run as root, or give it to your group"
) -> Finding:
    """Whether a file is there and may be read and written."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return Finding("no", f"there is no {path}", missing)
    except OSError as error:
        return Finding("no", f"{path}: {error.strerror}", refused)
    who = f"{stat.filemode(status.st_mode)} {_user(status.st_uid)}:{_group(status.st_gid)}"
    effective = os.access in os.supports_effective_ids
    read, write = (os.access(path, mode, effective_ids=effective) for mode in (os.R_OK, os.W_OK))
    if read and write:
        return Finding("ok", f"{path} may be read and written ({who})")
    if read:
        return Finding("?", f"{path} may be read, not written ({who})", refused)
    return Finding("no", f"no permission for {path} ({who})", refused)


def _lockdown(root: Path, what: str) -> Iterator[Finding]:
    text = _text(root / "sys/kernel/security/lockdown")
    mode = re.search(r"\[(\w+)\]", text or "")
    if mode is None:
        return
    if mode[1] == "none":
        yield Finding("ok", "the kernel is not locked down")
    else:
        remedy = "use uio:, which lockdown allows; lockdown comes with secure boot"
        yield Finding("no", f"the kernel is locked down ({mode[1]}), which forbids {what}", remedy)


def _strictness(root: Path) -> Iterator[Finding]:
    config = _text(root / f"boot/config-{platform.release()}") or ""
    if "CONFIG_IO_STRICT_DEVMEM=y" in config:
        if "iomem=relaxed" in (_text(root / "proc/cmdline") or ""):
            yield Finding("ok", "iomem=relaxed: addresses that drivers claim can be mapped")
        else:
            what = "this kernel keeps addresses that drivers claim from /dev/mem (IO_STRICT_DEVMEM)"
            yield Finding("?", what, "where that bites, boot with iomem=relaxed")
    elif "CONFIG_STRICT_DEVMEM=y" in config:
        yield Finding("ok", "this kernel keeps only RAM from /dev/mem (STRICT_DEVMEM)")


def _owner(root: Path, first: int, last: int) -> Iterator[Finding]:
    """Who /proc/iomem says the addresses belong to."""
    lines = (_text(root / "proc/iomem") or "").splitlines()
    spans = [re.fullmatch(r"( *)([0-9a-f]+)-([0-9a-f]+) : (.*)", line) for line in lines]
    known = [(len(m[1]), int(m[2], 16), int(m[3], 16), m[4]) for m in spans if m]
    if not any(end for _, _, end, _ in known):
        yield Finding("?", "/proc/iomem hides its addresses: only root sees who owns one")
        return
    touching = [span for span in known if span[1] <= last and first <= span[2]]
    if not touching:
        yield Finding("ok", f"nobody owns {first:#x} to {last:#x}, says /proc/iomem")
        return
    # Those inside others come with more indentation.
    _, start, end, name = max(touching, key=lambda span: span[0])
    if name == "System RAM":
        what = f"{start:#x} to {end:#x} is System RAM, no device"
        yield Finding("?", what, "is the address right? ram: opens RAM, mem: does not")
    else:
        what = f"{start:#x} to {end:#x} belongs to {name}, says /proc/iomem"
        yield Finding("?", what, "if it cannot be mapped: unbind that driver, and use uio:")


def _fit(entry: Entry) -> Finding:
    if entry["fits"]:
        return Finding("ok", f"the map {entry['fits'][0]} fits it")
    names = ", ".join(entry["compatible"])
    return Finding("?", f"no map of the library fits it ({names})", "give one: --map MAP")


def _capability(bit: int) -> bool | None:
    status = _text(Path("/proc/self/status")) or ""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return None if match is None else bool(int(match[1], 16) >> bit & 1)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\n")
    except OSError:
        return None
