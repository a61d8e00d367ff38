"""`devregs doctor`: what stands between the user and a source, and then a real try."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from .. import _devregs
from .._devregs import DevregsError, Map, SourceError
from .._text import clean
from . import findings
from .findings import Finding
from .options import NO, OK, Failure, Parser, add_source, message_of
from .output import paint, print_json
from .target import Bench, find_map

# A region of one word: enough to ask the system, and nothing in it is read.
_PROBE = '[device]\nname = "probe"\n[regions.word]\nsize = 4\n'

_COLOURS = {"ok": "green", "no": "red", "?": "yellow"}


class Asked(NamedTuple):
    """What is to be opened. Without a map, only whether its first word could be mapped is tried."""

    map: Map | None
    why_no_map: str
    source: str


def configure(parser: Parser) -> None:
    """The options of the command."""
    parser.usage = (
        "devregs doctor [OPTION…] SOURCE\n       devregs doctor --board FILE [OPTION…] DEVICE"
    )
    parser.add_argument("source", metavar="SOURCE", help="the source that is to be opened")
    add_source(parser)


def run(options: argparse.Namespace) -> int:
    """Print what was found; 0 where the source opens, 1 where it does not."""
    asked = _asked(options)
    root = Path(options.root)
    kind = asked.source.partition(":")[0]
    found = list(findings.user()) if kind in ("mem", "ram", "uio", "pci") else []
    # What is no source at all is said by the try to open it.
    with contextlib.suppress(SourceError):
        source, place = _devregs._source(asked.source)
        if isinstance(place, int) and kind in ("mem", "ram"):
            found += findings.mem(root, place, _size(asked.map), _devregs.scan(root))
        elif kind == "uio":
            found += findings.uio(root, source, _devregs.scan(root))
        elif kind == "pci":
            found += findings.pci(root, source, _devregs.scan(root))
        elif kind == "file":
            found += findings.file(Path(str(place)))
    opens = _try(asked, options)
    found.append(opens)
    if options.json:
        facts = [finding._asdict() for finding in found]
        print_json({"source": asked.source, "opens": opens.state == "ok", "findings": facts})
    else:
        for finding in found:
            print(f"{paint(f'{finding.state:<3}', _COLOURS[finding.state])} {clean(finding.what)}")
            if finding.remedy:
                print(f"    {clean(finding.remedy)}")
    return OK if opens.state == "ok" else NO


def _asked(options: argparse.Namespace) -> Asked:
    if options.board is not None:
        found, source = Bench(options).find(options.source)
        return Asked(found, "", source)
    try:
        return Asked(find_map(options, options.source), "", options.source)
    except Failure as failure:
        # A wrong --map is the user's to mend; without one there is still much to say.
        if options.map is not None:
            raise
        return Asked(None, str(failure), options.source)


def _try(asked: Asked, options: argparse.Namespace) -> Finding:
    """Open it for real, and close it again."""
    if asked.map is not None:
        try:
            _devregs.open(asked.map, asked.source, verify=options.verify, root=options.root).close()
        except (DevregsError, OSError) as error:
            return _refused(error)
        return Finding("ok", f"opens as {asked.map.name}", "")
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.toml")
        probe.write_text(_PROBE)
        try:
            _devregs.open(probe, asked.source, verify=False, root=options.root).close()
        except (DevregsError, OSError) as error:
            return _refused(error)
    return Finding(
        "ok", "its first word can be mapped; which map it has was not told", asked.why_no_map
    )


def _refused(error: Exception) -> Finding:
    problem, remedy = message_of(error), ""
    if isinstance(error, SourceError) and error.problem is not None:
        problem, remedy = f"{error.source}: {error.problem}", error.remedy or ""
    return Finding("no", f"does not open: {problem}", remedy.replace("verify=False", "--no-verify"))


def _size(device_map: Map | None) -> int:
    """How far a device reaches from its address, in bytes."""
    from . import model

    if device_map is None:
        return 4
    data: dict[str, Any] = model.of(device_map)
    return max((int(region["offset"] + region["size"]) for region in data["regions"]), default=4)
