"""Debian's kernels for the guests, with the UIO modules they need."""

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from cache import LabError, Step, run
from host import CROSS
from packages import Packages

SERIES = "6.1"
GENIRQ = "uio_pdrv_genirq.c"


# What the kernel of each architecture is called after its version.
FLAVOURS = {"amd64": "cloud-amd64", "arm64": "cloud-arm64", "armhf": "armmp"}


@dataclass(frozen=True)
class Kernel:
    """A kernel image and the modules to insert, in order."""

    image: Path
    modules: list[Path]


def kernel(packages: Packages, tools: Packages) -> Kernel:
    """The kernel of a guest, by its packages; `tools` are the host's, where a module is to be built."""
    arch = packages.arch
    release = _release(packages)
    image = packages.cache.step(
        f"kernel-{arch}",
        [packages.key, release],
        lambda folder: packages.unpack([f"linux-image-{release}"], folder / "root"),
    )
    root = image.folder / "root"
    uio = root / "lib/modules" / release / "kernel/drivers/uio"
    modules = [uio / "uio.ko"]
    if arch == "arm64":
        built = _genirq(packages, tools, release)
        modules.append(built.folder / "uio_pdrv_genirq.ko")
    else:
        modules.append(uio / "uio_pci_generic.ko")
    return Kernel(root / f"boot/vmlinuz-{release}", modules)


def _release(packages: Packages) -> str:
    """What the newest kernel of the series is called: `6.1.0-9-cloud-arm64`."""
    flavour = FLAVOURS[packages.arch]
    [newest] = packages.depends(f"linux-image-{flavour}")
    match = re.fullmatch(rf"linux-image-({re.escape(SERIES)}\.0-\d+-{flavour})", newest)
    if not match:
        raise LabError(f"linux-image-{flavour} depends on {newest}, not on a kernel {SERIES}")
    return match.group(1)


def _genirq(packages: Packages, tools: Packages, release: str) -> Step:
    """uio_pdrv_genirq.ko: Debian leaves it out, so that one file is built from Debian's source."""

    def make(folder: Path) -> None:
        root, module = folder / "root", folder / "module"
        common = release.replace(FLAVOURS[packages.arch], "common")
        packages.unpack([f"linux-headers-{release}", f"linux-headers-{common}"], root)
        tools.unpack([f"linux-kbuild-{SERIES}", f"linux-source-{SERIES}"], root)
        module.mkdir()
        archive = root / f"usr/src/linux-source-{SERIES}.tar.xz"
        (module / GENIRQ).write_bytes(_member(archive, f"drivers/uio/{GENIRQ}"))
        archive.unlink()
        (module / "Makefile").write_text("obj-m := uio_pdrv_genirq.o\n")
        # The headers name each other by the places they are installed at: /usr/src and /usr/lib.
        headers = root / f"usr/src/linux-headers-{release}"
        makefile = headers / "Makefile"
        makefile.write_text(re.sub(r"/usr/src/", f"{root}/usr/src/", makefile.read_text()))
        for part in ("scripts", "tools"):
            link = root / f"usr/src/linux-headers-{common}" / part
            link.unlink(missing_ok=True)
            link.symlink_to(root / f"usr/lib/linux-kbuild-{SERIES}" / part)
        kind = ["ARCH=arm64", f"CROSS_COMPILE={CROSS[packages.arch]}-"]
        run(["make", "-C", headers, f"M={module}", *kind, "modules"], limit=120)
        (module / "uio_pdrv_genirq.ko").rename(folder / "uio_pdrv_genirq.ko")

    return packages.cache.step(f"module-{packages.arch}", [packages.key, tools.key, release], make)


def _member(archive: Path, end: str) -> bytes:
    """One file of a tar archive, read no further than it takes to find it."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if member.name.endswith(end):
                content = tar.extractfile(member)
                if content:
                    return content.read()
    raise LabError(f"{archive.name} has no {end}")
