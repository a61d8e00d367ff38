"""Debian's kernels for the guests, with the UIO modules they need."""

import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from cache import LabError, Step, run
from packages import Packages

SERIES = "6.1"
GENIRQ = "uio_pdrv_genirq.c"


@dataclass(frozen=True)
class Kernel:
    """A kernel image and the modules to insert, in order."""

    image: Path
    modules: list[Path]


def kernel(packages: Packages, arch: str) -> Kernel:
    """The kernel of a guest: `amd64` or `arm64`."""
    release = _release(packages, arch)
    image = packages.cache.step(
        f"kernel-{arch}",
        [packages.lists.key, release],
        lambda folder: packages.unpack([f"linux-image-{release}:{arch}"], folder / "root"),
    )
    root = image.folder / "root"
    uio = root / "lib/modules" / release / "kernel/drivers/uio"
    modules = [uio / "uio.ko"]
    if arch == "amd64":
        modules.append(uio / "uio_pci_generic.ko")
    else:
        built = _genirq(packages, arch, release)
        modules.append(built.folder / "uio_pdrv_genirq.ko")
    return Kernel(root / f"boot/vmlinuz-{release}", modules)


def _release(packages: Packages, arch: str) -> str:
    """What the newest kernel of the series is called: `6.1.0-9-cloud-arm64`."""
    [newest] = packages.depends(f"linux-image-cloud-{arch}:{arch}")
    match = re.fullmatch(
        rf"linux-image-({re.escape(SERIES)}\.0-\d+-cloud-{arch})(:{arch})?", newest
    )
    if not match:
        raise LabError(f"linux-image-cloud-{arch} depends on {newest}, not on a kernel {SERIES}")
    return match.group(1)


def _genirq(packages: Packages, arch: str, release: str) -> Step:
    """uio_pdrv_genirq.ko: Debian leaves it out, so that one file is built from Debian's source."""

    def make(folder: Path) -> None:
        root, module = folder / "root", folder / "module"
        common = release.replace(f"cloud-{arch}", "common")
        names = [
            f"linux-headers-{release}:{arch}",
            f"linux-headers-{common}",
            f"linux-kbuild-{SERIES}",
        ]
        packages.unpack([*names, f"linux-source-{SERIES}"], root)
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
        run(
            [
                "make",
                "-C",
                headers,
                f"M={module}",
                "ARCH=arm64",
                "CROSS_COMPILE=aarch64-linux-gnu-",
                "modules",
            ]
        )
        (module / "uio_pdrv_genirq.ko").rename(folder / "uio_pdrv_genirq.ko")

    return packages.cache.step(f"module-{arch}", [packages.lists.key, release], make)


def _member(archive: Path, end: str) -> bytes:
    """One file of a tar archive, read no further than it takes to find it."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if member.name.endswith(end):
                content = tar.extractfile(member)
                if content:
                    return content.read()
    raise LabError(f"{archive.name} has no {end}")
