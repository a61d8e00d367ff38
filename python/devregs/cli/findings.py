"""What `devregs doctor` looks at: files, rights, lockdown, modules, owners of addresses."""

from __future__ import annotations

import grp
import os
import platform
import pwd
import re
import stat
from pathlib import Path
from typing import Any, NamedTuple

from .target import matching


class Finding(NamedTuple):
    """One fact: `ok`, `no` where it stands in the way, `?` where it may."""

    state: str
    what: str
    remedy: str


def user_finding() -> Finding:
    """Who asks."""
    uid = os.geteuid()
    if uid == 0:
        raw = _capability(17)
        if raw is False:
            return Finding(
                "?",
                "you are root, but without CAP_SYS_RAWIO",
                "is this a container? mem: needs that capability",
            )
        return Finding("ok", "you are root", "")
    return Finding("?", f"you are {_user(uid)}, not root", "")


def mem_findings(root: Path, address: str, size: int) -> list[Finding]:
    """What may stand between a user and an address of physical memory."""
    found = [
        _node(
            root / "dev/mem",
            "it needs CONFIG_DEVMEM in the kernel, and to be passed into a container",
        )
    ]
    found += _lockdown(root, "opening /dev/mem")
    found += _strictness(root)
    try:
        start = int(address, 0)
    except ValueError:
        return found
    covering = [
        entry["source"]
        for entry in _scan(root)
        for span in entry["maps"]
        if span["address"] <= start < span["address"] + span["size"]
    ]
    if covering:
        found.append(
            Finding(
                "ok",
                f"the address also belongs to {', '.join(covering)}",
                "open it by that source instead",
            )
        )
    return [*found, _owner(root, start, start + max(size, 1) - 1)]


def uio_findings(root: Path, name: str, scanned: list[dict[str, Any]]) -> list[Finding]:
    """What may stand between a user and a UIO device."""
    folder = root / "sys/class/uio"
    if not folder.is_dir():
        return [
            Finding(
                "no",
                f"{folder} is missing: the uio module is not loaded",
                "modprobe uio, and the driver that offers your device",
            )
        ]
    fitting = matching(scanned, f"uio:{name}")
    if not fitting:
        there = ", ".join(
            f"{entry['source']} ({entry['name']})"
            for entry in scanned
            if entry["source"].startswith("uio:")
        )
        remedy = "bind the device to uio_pdrv_genirq (device tree) or uio_pci_generic (PCI: new_id)"
        return [
            Finding("no", f"no UIO device is called {name}; there is {there or 'none'}", remedy)
        ]
    if len(fitting) > 1:
        numbers = ", ".join(entry["source"] for entry in fitting)
        return [
            Finding("no", f"several UIO devices are called {name}", f"choose by number: {numbers}")
        ]
    entry = fitting[0]
    number = entry["source"].partition(":")[2]
    found = [
        Finding("ok", f"uio{number} is {entry['name']}, driver {entry['driver'] or 'unknown'}", "")
    ]
    for span in entry["maps"]:
        found.append(
            Finding(
                "ok",
                f"map {span['index']} ({span['name']}): {span['size']:#x} bytes at {span['address']:#x}",
                "",
            )
        )
    if not entry["maps"]:
        found.append(
            Finding("no", "it has no memory maps", "give its device-tree node a reg property")
        )
    rule = f'a udev rule gives your group the device: SUBSYSTEM=="uio", ATTR{{name}}=="{entry["name"]}", GROUP="plugdev", MODE="0660"'
    return [
        *found,
        _node(
            root / f"dev/uio{number}", "is udev running? In a container, pass the device in", rule
        ),
        _fit(entry),
    ]


def pci_findings(root: Path, source: str, scanned: list[dict[str, Any]]) -> list[Finding]:
    """What may stand between a user and a PCI function."""
    fitting = matching(scanned, source)
    if not fitting:
        there = ", ".join(
            f"{entry['source']} ({entry['name']})"
            for entry in scanned
            if entry["source"].startswith("pci:")
        )
        return [
            Finding(
                "no",
                f"there is no {source}; there is {there or 'none'}",
                "echo 1 > /sys/bus/pci/rescan finds a card that came late",
            )
        ]
    if len(fitting) > 1:
        return [
            Finding(
                "no",
                f"several functions are {source}",
                f"choose by address: {', '.join(e['source'] for e in fitting)}",
            )
        ]
    entry = fitting[0]
    folder = root / "sys/bus/pci/devices" / entry["source"].partition(":")[2]
    found = [
        Finding(
            "ok", f"{entry['source']} is {entry['name']}, driver {entry['driver'] or 'none'}", ""
        )
    ]
    if entry["driver"] and not entry["driver"].startswith(("uio", "vfio")):
        found.append(
            Finding(
                "?",
                f"the driver {entry['driver']} uses the device too",
                f"unbind it: echo {folder.name} > {folder}/driver/unbind",
            )
        )
    if (enabled := _text(folder / "enable")) == "0":
        found.append(Finding("no", "the function is not enabled", f"echo 1 > {folder}/enable"))
    elif enabled:
        found.append(Finding("ok", "the function is enabled", ""))
    if (power := _text(folder / "power_state")) not in (None, "D0", "unknown"):
        found.append(
            Finding("no", f"the function sleeps ({power})", f"echo on > {folder}/power/control")
        )
    found += _lockdown(root, "mapping PCI resources")
    for span in entry["maps"]:
        found.append(
            _node(
                folder / f"resource{span['index']}",
                "the BAR has no memory",
                "run as root, or give your group the file by a udev rule",
            )
        )
    return [*found, _fit(entry)]


def file_findings(path: Path) -> list[Finding]:
    """What may stand between a user and a file."""
    if path.is_dir():
        return [Finding("no", f"{path} is a folder", "name a file")]
    found = [_node(path, "make it first: truncate -s SIZE FILE")]
    if path.is_file():
        found.append(Finding("ok", f"it is {path.stat().st_size:#x} bytes long", ""))
    return found


def _node(
    path: Path, missing: str, refused: str = "run as root, or give your group the file"
) -> Finding:
    """Whether a file is there and may be read and written."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return Finding("no", f"there is no {path}", missing)
    except OSError as error:
        return Finding("no", f"{path}: {error.strerror}", refused)
    who = f"{stat.filemode(status.st_mode)} {_user(status.st_uid)}:{_group(status.st_gid)}"
    read, write = (os.access(path, mode, effective_ids=True) for mode in (os.R_OK, os.W_OK))
    if read and write:
        return Finding("ok", f"{path} may be read and written ({who})", "")
    if read:
        return Finding(
            "?", f"{path} may be read but not written ({who}): only read-only regions open", refused
        )
    return Finding("no", f"no permission for {path} ({who})", refused)


def _lockdown(root: Path, what: str) -> list[Finding]:
    text = _text(root / "sys/kernel/security/lockdown")
    mode = re.search(r"\[(\w+)\]", text or "")
    if mode is None:
        return []
    if mode[1] == "none":
        return [Finding("ok", "the kernel is not locked down", "")]
    return [
        Finding(
            "no",
            f"the kernel is locked down ({mode[1]}), which forbids {what}",
            "use uio:, which lockdown allows; it comes with secure boot",
        )
    ]


def _strictness(root: Path) -> list[Finding]:
    config = _text(root / f"boot/config-{platform.release()}") or ""
    if "CONFIG_IO_STRICT_DEVMEM=y" in config:
        if "iomem=relaxed" in (_text(root / "proc/cmdline") or ""):
            return [
                Finding(
                    "ok",
                    "the kernel was booted with iomem=relaxed: addresses that drivers claim can be mapped",
                    "",
                )
            ]
        return [
            Finding(
                "?",
                "this kernel keeps addresses that drivers claim from /dev/mem (IO_STRICT_DEVMEM)",
                "where that bites, boot with iomem=relaxed",
            )
        ]
    if "CONFIG_STRICT_DEVMEM=y" in config:
        return [Finding("ok", "this kernel keeps only RAM from /dev/mem (STRICT_DEVMEM)", "")]
    return []


def _owner(root: Path, first: int, last: int) -> Finding:
    """Who /proc/iomem says the addresses belong to."""
    lines = (_text(root / "proc/iomem") or "").splitlines()
    spans = [re.fullmatch(r"( *)([0-9a-f]+)-([0-9a-f]+) : (.*)", line) for line in lines]
    known = [(len(m[1]), int(m[2], 16), int(m[3], 16), m[4]) for m in spans if m]
    if not any(end for _, _, end, _ in known):
        return Finding("?", "/proc/iomem hides its addresses", "only root sees who owns an address")
    touching = [
        (depth, start, end, name)
        for depth, start, end, name in known
        if start <= last and first <= end
    ]
    if not touching:
        return Finding("ok", f"{first:#x} to {last:#x}: /proc/iomem knows of no owner", "")
    _, start, end, name = max(touching, key=lambda span: span[0])
    what = f"{start:#x} to {end:#x} belongs to {name}"
    if name == "System RAM":
        return Finding("no", f"{what}: that is no device", "is the address right?")
    return Finding(
        "?", f"{what}, says /proc/iomem", "if it cannot be mapped: unbind that driver and use uio:"
    )


def _fit(entry: dict[str, Any]) -> Finding:
    if entry["fits"]:
        return Finding("ok", f"the map {entry['fits'][0]} fits it", "")
    names = ", ".join(entry["compatible"])
    return Finding("?", f"no map of the library fits it ({names})", "give one with --map")


def _scan(root: Path) -> list[dict[str, Any]]:
    from .._devregs import scan

    return scan(root)


def _capability(bit: int) -> bool | None:
    match = re.search(
        r"^CapEff:\s*([0-9a-f]+)", _text(Path("/proc/self/status")) or "", re.MULTILINE
    )
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
