#!/usr/bin/env python3
"""The lab: boots QEMU machines with Debian's kernels and tests devregs on their devices.

    python3 tests/lab/run.py [x86_64] [aarch64] [--source FOLDER]

All it fetches and builds lies in $DEVREGS_LAB_CACHE, or devregs-lab in the user's cache folder;
remove that to start afresh. Needs Debian, Rust, Python 3.11 or newer with venv, and root where
compilers are still to be installed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import host
import image
import sites
import wheel
from cache import Cache, LabError, Step, Unavailable, cache_root, not_checked, say
from kernel import Kernel, kernel
from machine import Outcome, boot, device_tree
from packages import Packages, emulator
from rust import host_rust, rust

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# A machine that is left out where a mirror will not give what it is made of. The others are a must.
OPTIONAL: set[str] = set()


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Run the tests that need real kernels and device models."
    )
    parser.add_argument(
        "machines", nargs="*", metavar="MACHINE", help="x86_64, aarch64 (default: both)"
    )
    parser.add_argument(
        "--source", type=Path, default=HERE.parents[1], help="the source tree to build"
    )
    options = parser.parse_args()
    machines = options.machines or list(ARCHITECTURES)
    if unknown := set(machines) - set(ARCHITECTURES):
        there = ", ".join(ARCHITECTURES)
        parser.error(f"there is no machine {', '.join(sorted(unknown))}: there are {there}")

    start = time.monotonic()
    try:
        lab = Lab(options.source.resolve())
        attempts = [attempt(lab, machine) for machine in machines]
        outcomes = [outcome for outcome in attempts if outcome]
    except LabError as error:
        outcomes = [Outcome(machine, trouble=str(error)) for machine in machines]
    except KeyboardInterrupt:
        return 130
    return report(outcomes, time.monotonic() - start)


def attempt(lab: "Lab", machine: str) -> Outcome | None:
    """A machine that cannot be built or booted is no reason not to try the others."""
    try:
        return lab.test(machine)
    except Unavailable as error:
        if machine not in OPTIONAL:
            return Outcome(machine, trouble=str(error))
        not_checked(f"the {machine} machine", error)
        return None
    except LabError as error:
        return Outcome(machine, trouble=str(error))


class Lab:
    """What all machines share."""

    def __init__(self, source: Path) -> None:
        host.install()
        self.source = source
        self.cache = Cache(cache_root())
        say(f"everything fetched and built is in {self.cache.root}")
        self.emulator = emulator(self.cache)
        self.native = Packages(self.cache, "amd64")
        self.tools = wheel.tools(self.cache, source)
        self.site = wheel.guest_site(self.cache, self.tools)
        self.python = image.guest_python(self.cache, image.guest_root(self.native))

    def test(self, machine: str) -> Outcome:
        arch = ARCHITECTURES[machine]
        host.install(arch)
        packages = Packages(self.cache, arch)
        kernel_ = kernel(packages, self.native)
        root = image.guest_root(packages)
        base = image.base_image(self.cache, root, self.python, self.site, arch)
        compiler = host_rust() if arch == "amd64" else rust(self.cache, arch)
        built = wheel.build(self.cache, self.source, self.tools, self.python, arch, compiler)
        tree = (
            device_tree(self.cache, self.emulator).folder / "lab.dtb"
            if machine == "aarch64"
            else None
        )
        with tempfile.TemporaryDirectory(prefix="devregs-lab-") as folder:
            accesses = sites.check(built, arch, Path(folder))
        say(f"{accesses} accesses in the library, each one plain load or store")
        say(f"booting {machine}")
        with tempfile.TemporaryDirectory(prefix="devregs-lab-") as folder:
            initrd = Path(folder) / "initrd"
            write_image(initrd, machine, base, built, kernel_)
            return boot(self.cache, machine, self.emulator, kernel_, initrd, tree)


def write_image(path: Path, machine: str, base: Step, built: Path, kernel_: Kernel) -> None:
    """A guest's file system: the part that stays, then this run's wheel, modules and tests."""
    guest, archive = HERE / "guest", image.Archive()
    archive.file("init", (guest / "init").read_bytes(), 0o755)
    for module in kernel_.modules:
        archive.file(f"lab/modules/{module.name}", module.read_bytes())
    for name, content in wheel.files(built).items():
        archive.file(f"{image.SITE}/{name}", content)
    archive.file("lab/tests/pytest.ini", (guest / "pytest.ini").read_bytes())
    # Beside the tests, and so to be imported by them.
    examples = HERE.parents[1] / "examples"
    for beside in (guest / "conftest.py", guest / "alike.py", examples / "rtc_alarm.py"):
        archive.file(f"lab/tests/{beside.name}", beside.read_bytes())
    for part in ("maps", "common", "last", machine):
        for file in sorted((guest / part).glob("*.*")):
            archive.file(f"lab/tests/{part}/{file.name}", file.read_bytes())
    own = path.with_suffix(".own")
    archive.write(own)
    with path.open("wb") as out:
        for part_ in (base.folder / "base.cpio", own):
            with part_.open("rb") as source:
                shutil.copyfileobj(source, out)


def report(outcomes: list[Outcome], seconds: float) -> int:
    """Which device answered what, and the sum. A machine without a result counts as a failure."""
    for outcome in outcomes:
        counts = f"{outcome.passed} passed, {len(outcome.failed)} failed"
        print(f"\n{outcome.machine}: {counts}, {outcome.seconds:.0f} s")
        width = max((len(device) for device, _ in outcome.answers), default=0)
        for device, answer in outcome.answers:
            print(f"  {device:{width}}  {answer}")
        for name in outcome.failed:
            print(f"  FAILED or skipped: {name}")
        if outcome.trouble:
            say(f"FAILED: {outcome.machine}: {outcome.trouble}")
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(len(outcome.failed) + bool(outcome.trouble) for outcome in outcomes)
    say(f"{seconds:.0f} s in all")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
