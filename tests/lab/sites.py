"""What the compiler made of the accesses: each must be one plain load or store, in the built library.

The library lists its accesses in a section of its own, for its fault guard: where each begins and
where it ends. This reads the list and the disassembly, and takes nothing from the source's word.
"""

import re
import struct
import zipfile
from pathlib import Path

from cache import LabError, run

OBJDUMP = {
    "amd64": "objdump",
    "arm64": "aarch64-linux-gnu-objdump",
    "armhf": "arm-linux-gnueabihf-objdump",
}
SECTION = "devregs_sites"

# One load or store of one register, and no address that is written back.
PLAIN = {
    "amd64": re.compile(
        r"(movzbl|movzwl|mov) +("
        r"\(%\w+\),%\w+|0x0\(%\w+\),%\w+|%\w+,\(%\w+\)|%\w+,0x0\(%\w+\)"
        r")$"
    ),
    "arm64": re.compile(r"(ldrb?|ldrh|strb?|strh)\s+[wx]\d+, \[x\d+\]$"),
    "armhf": re.compile(r"(ldrb?|ldrh|strb?|strh)\s+[a-z]\w+, \[[a-z]\w+\]$"),
}


def check(wheel: Path, arch: str, folder: Path) -> int:
    """How many accesses the wheel's library has; LabError where one is not a plain one."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".so")]
        library = Path(archive.extract(name, folder))
    sites = list(_sites(library, arch))
    if not sites:
        raise LabError(f"{wheel.name} lists no accesses")
    instructions = _disassemble(library, arch)
    for start, end in sites:
        size, text = instructions.get(start, (0, "no instruction"))
        if start + size != end or not PLAIN[arch].match(text):
            raise LabError(
                f"{wheel.name}: the access at {start:#x} is not one plain load or store: {text}"
            )
    return len(sites)


def _sites(library: Path, arch: str) -> list[tuple[int, int]]:
    headers = run([OBJDUMP[arch], "-h", "-w", library])
    match = re.search(rf"^ *\d+ {SECTION} +(\w+) +(\w+) +\w+ +(\w+)", headers, re.M)
    if match is None:
        return []
    size, address, offset = (int(part, 16) for part in match.groups())
    content = library.read_bytes()[offset : offset + size]
    sites = []
    for place in range(0, size, 8):
        start, end = struct.unpack_from("<ii", content, place)
        sites.append((address + place + start, address + place + 4 + end))
    return sites


def _disassemble(library: Path, arch: str) -> dict[int, tuple[int, str]]:
    """Each instruction's size and text, by address."""
    text = run([OBJDUMP[arch], "-d", "-w", library])
    found = {}
    for line in text.splitlines():
        match = re.match(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2,8} )+) *\t(.*)$", line)
        if match:
            size = len(match.group(2).replace(" ", "")) // 2
            found[int(match.group(1), 16)] = (size, re.sub(r"\s+", " ", match.group(3)).strip())
    return found
