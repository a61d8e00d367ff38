"""Guest roots: Debian packages unpacked into an initramfs, with neither installation nor disk."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cache import Cache, Step, run, script
from packages import Packages, loader

PACKAGES = [
    "busybox-static",
    "libbz2-1.0",
    "libc6",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "liblzma5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libssl3",
    "python3.11-minimal",
    "zlib1g",
]
# What a guest has no use for: it would only be unpacked into its memory at every boot.
UNUSED = [
    "usr/share",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/aarch64-linux-gnu/gconv",
    "usr/lib/arm-linux-gnueabihf/gconv",
    "usr/lib/python3.11/lib2to3",
]
# Where the tests, the wheel and what they import lie in the guest.
SITE = "lab/site"


def guest_root(packages: Packages) -> Step:
    """The unpacked packages of a guest."""
    return packages.cache.step(
        f"root-{packages.arch}",
        [packages.key, PACKAGES],
        lambda folder: packages.unpack(PACKAGES, folder / "root"),
    )


def guest_python(cache: Cache, root: Step) -> Step:
    """The amd64 guest's Python as a command here: the host may have another version, or several."""

    def make(folder: Path) -> None:
        unpacked = root.folder / "root"
        command = f"exec {loader(unpacked)} '{unpacked}/usr/bin/python3.11'"
        script(folder / "python3.11", f"PYTHONHOME='{unpacked}/usr' {command} \"$@\"")

    return cache.step("guest-python", [root.key, loader(Path("/"))], make)


def base_image(cache: Cache, root: Step, python: Step, site: Step, arch: str) -> Step:
    """The part of a guest's file system that stays from run to run, with its Python compiled."""

    def make(folder: Path) -> None:
        unpacked = root.folder / "root"
        stdlib = unpacked / "usr/lib/python3.11"
        # Unchecked: the guest need not compare times, which the archive does not keep.
        compile_all = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
        interpreter = python.folder / "python3.11"
        run([interpreter, *compile_all, "-s", unpacked, "-p", "/", "-x", "test|lib2to3", stdlib])
        run([interpreter, *compile_all, "-s", site.folder, "-p", f"/{SITE}", site.folder])
        archive = Archive()
        archive.tree(unpacked, "", skip=UNUSED)
        archive.tree(site.folder, SITE)
        archive.write(folder / "base.cpio")

    return cache.step(f"image-{arch}", [root.key, python.key, site.key, UNUSED, SITE], make)


class Archive:
    """A cpio archive (`newc`), which the kernel unpacks. Several in a row make one file system."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes]] = {}
        for folder in ("dev", "proc", "sys", "tmp", "run"):
            self._entries[folder] = (stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._folders(path)
        self._entries[path] = (stat.S_IFREG | mode, content)

    def tree(self, source: Path, at: str, skip: list[str] | None = None) -> None:
        """Everything in a folder, at a path of the archive."""
        for path in self._walk(source, set(skip or ()), source):
            name = str(Path(at) / path.relative_to(source))
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                self._folders(name)
                self._entries[name] = (mode, os.fsencode(path.readlink()))
            elif stat.S_ISREG(mode):
                self.file(name, path.read_bytes(), stat.S_IMODE(mode))
            elif stat.S_ISDIR(mode):
                self._folders(f"{name}/.")

    def _walk(self, folder: Path, skip: set[str], top: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if str(path.relative_to(top)) in skip:
                continue
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from self._walk(path, skip, top)

    def _folders(self, path: str) -> None:
        """The folders above a path: the kernel makes none by itself."""
        for parent in reversed(Path(path).parents[:-1]):
            self._entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, b""))

    def write(self, path: Path) -> None:
        with path.open("wb") as out:
            entries = [*self._entries.items(), ("TRAILER!!!", (0, b""))]
            for number, (name, (mode, content)) in enumerate(entries, start=1):
                encoded = name.encode() + b"\0"
                links, time, checksum = 1, 0, 0
                fields = [
                    number,
                    mode,
                    0,
                    0,
                    links,
                    time,
                    len(content),
                    0,
                    0,
                    0,
                    0,
                    len(encoded),
                    checksum,
                ]
                header = b"070701" + b"".join(b"%08X" % field for field in fields)
                out.write(_padded(header + encoded))
                out.write(_padded(content))
            # Whole blocks, so that another archive may follow.
            out.write(b"\0" * (-out.tell() % 512))


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
