"""What the host itself needs: compilers, installed with the host's own APT where they are missing."""

import os
import platform
import time
from pathlib import Path

from cache import LabError, Unavailable, run, say

# The names of each architecture, Debian's first: what its compiler's programs begin with, and Rust's target.
CROSS = {
    "arm64": "aarch64-linux-gnu",
    "armhf": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
}
TARGETS = {
    "amd64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "armhf": "armv7-unknown-linux-gnueabihf",
    "riscv64": "riscv64gc-unknown-linux-gnu",
}
# Packages, and the file that shows each to be there.
NATIVE = {
    "gcc": "/usr/bin/gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "make": "/usr/bin/make",
}
PAUSES = (0.0, 10.0, 30.0, 60.0)


def install(arch: str = "amd64") -> None:
    """Install the compiler for an architecture if it is missing, and nothing else. Unavailable where APT will not give it."""
    if platform.machine() != "x86_64":
        raise LabError("the lab's packages are for an x86_64 host")
    wanted = dict(NATIVE)
    if arch in CROSS:
        prefix = CROSS[arch]
        wanted[f"gcc-{prefix}"] = f"/usr/bin/{prefix}-gcc"
        wanted[f"libc6-dev-{arch}-cross"] = f"/usr/{prefix}/include/stdio.h"
    apt([name for name, file in wanted.items() if not Path(file).exists()])


def apt(missing: list[str]) -> None:
    """Install packages on the host: with the lists there are, then with new ones, in several tries."""
    if not missing:
        return
    if os.geteuid() != 0:
        raise Unavailable(f"not installed, and only root can: {' '.join(missing)}")
    say(f"installing {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    last: LabError | None = None
    for pause in PAUSES:
        time.sleep(pause)
        try:
            # One list of many that cannot be had is no reason to stop: whether the packages can is what counts.
            run(["apt-get", *wait, "update"], limit=300)
        except LabError as error:
            say(f"going on with the lists there are: {error}")
        try:
            run(
                ["apt-get", *wait, "install", "--yes", "--no-install-recommends", *missing],
                env=quiet,
            )
            return
        except LabError as error:
            last = error
    raise Unavailable(f"apt-get cannot install {' '.join(missing)}: {last}")
