"""Debian packages, fetched by an APT of the lab's own and unpacked privately: the host stays as is.

There is one APT for each architecture and suite, with lists, packages and a package status of its own: lists that are out of
step with their mirror, as happens for hours, harm nothing but what is taken from them. The mirrors are the host's. The
package status is empty, so that a package brings all it needs, the C library included: it runs by
itself, whatever the host has installed.

Everything is tried several times, with pauses and past the caches between here and the mirror. Lists and packages that were
fetched once are kept and used again: a mirror that fails later takes nothing away.
"""

import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from cache import Cache, LabError, Step, Unavailable, run, say, script

# The lab's kernels, guests and tools are those of one release, whatever the host runs. Its main suite alone: what lies there
# changes with a point release only, and what belongs together is in step.
RELEASE = "bookworm"
BACKPORTS = f"{RELEASE}-backports"
# Where else QEMU is new enough.
NEXT_RELEASE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "{folder}/none";
Dir::Etc::Preferences "{folder}/none/preferences";
Dir::Etc::PreferencesParts "{folder}/none";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""

# The pause before each further try, in seconds, and how the try asks: a list has several places at a mirror (by the hash of
# its content and by its name; in several compressions), and a copy on the way may be an old one.
PAST_CACHES = ["-o", "Acquire::http::No-Cache=true", "-o", "Acquire::https::No-Cache=true"]
BY_NAME = ["-o", "Acquire::By-Hash=no"]
GZIPPED = ["-o", "Acquire::CompressionTypes::Order::=gz"]
TRIES: list[tuple[float, list[str]]] = [
    (0, []),
    (5, PAST_CACHES),
    (20, [*PAST_CACHES, *BY_NAME]),
    (45, [*PAST_CACHES, *GZIPPED]),
]
T = TypeVar("T")

# Seconds for one call of apt-get: a list of 10 MB, packages of 250 MB.
UPDATE_LIMIT, FETCH_LIMIT = 240.0, 900.0


@functools.cache
def host_mirrors() -> list[str]:
    """Where the host gets Debian from."""
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.M)
    codename = release.group(1) if release else RELEASE
    targets = run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    pairs = [line.partition(" ") for line in targets.splitlines()]
    found = [mirror for suite, _, mirror in pairs if suite in (codename, "stable")]
    if not found:
        raise LabError(f"apt has no source for {codename}: the lab takes its mirror from there")
    return list(dict.fromkeys(found))


class Packages:
    """A private APT for one architecture and what its suites hold."""

    def __init__(self, cache: Cache, arch: str, *suites: str) -> None:
        self.cache = cache
        self.arch = arch
        self.suites = suites or (RELEASE,)
        self.name = f"{arch} packages of {' and '.join(self.suites)}"
        self.folder = cache.root / "apt" / f"{arch}-{'-'.join(self.suites)}"
        self.configuration = self.folder / "apt.conf"
        self.archives = self.folder / "packages"
        self.mirrors = host_mirrors()
        # Part of the inputs of every step that takes packages from here.
        self.key = hashlib.sha256(
            json.dumps([CONFIGURATION, arch, self.suites, self.mirrors]).encode()
        ).hexdigest()
        for sub in ("state/lists/partial", "cache/archives/partial", "none", "packages/partial"):
            (self.folder / sub).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        self.configuration.write_text(CONFIGURATION.format(folder=self.folder, arch=arch))
        self._sources(self.mirrors[0])

    def depends(self, package: str) -> list[str]:
        """The direct dependencies of a package."""
        text = self._try(lambda _: self._apt("apt-cache", ["depends", package]))
        return re.findall(r"^ *Depends: (\S+)$", text, re.M)

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Fetch just these packages and unpack them into a folder."""
        self._fetch(["download", *packages], into)

    def unpack_with_dependencies(
        self, packages: Sequence[str], into: Path, *, suite: str = "", without: Sequence[str] = ()
    ) -> None:
        """The same with all they depend on, but nothing for the sake of what `without` names."""
        status = self.folder / "status-without"
        head = f"Status: install ok installed\nVersion: 999\nArchitecture: {self.arch}\nMaintainer: lab\n"
        status.write_text("".join(f"Package: {name}\n{head}\n" for name in without))
        command = ["install", "--yes", "--download-only", "-o", f"Dir::State::status={status}"]
        if suite:
            command += ["-t", suite]
        self._fetch([*command, *packages], into)

    def _fetch(self, command: Sequence[str], into: Path) -> None:
        for archive in self._try(lambda how: self._archives(command, how)):
            run(["dpkg", "-x", archive, into])

    def _archives(self, command: Sequence[str], how: Sequence[str]) -> list[Path]:
        """The files of the packages a command is about, fetched where they are not here yet."""
        # What is there already is not listed: so it is asked from, and for, folders where nothing is.
        nowhere = ["-o", f"Dir::Cache::archives={self.folder}/cache/archives", "--print-uris"]
        listed = self._apt("apt-get", [*command, *nowhere], cwd=self.folder / "none")
        wanted = {
            self.archives / name: int(size)
            for name, size in re.findall(r"^'\S+' (\S+\.deb) (\d+)", listed, re.M)
        }
        if not wanted:
            raise LabError(f"apt names no package for: {' '.join(command)}")
        if not _all_there(wanted):
            kept = ["-o", f"Dir::Cache::archives={self.archives}"]
            self._apt("apt-get", [*command, *kept, *how], FETCH_LIMIT)
            if not _all_there(wanted):
                missing = [file.name for file in wanted if not file.exists()]
                raise LabError(f"apt fetched all but {', '.join(missing) or 'a part'}")
        return list(wanted)

    def _try(self, take: Callable[[Sequence[str]], T]) -> T:
        """Do what needs lists and packages: with the lists there are, and then with new ones."""
        last: LabError | None = None
        for number, (pause, how) in enumerate(TRIES):
            time.sleep(pause)
            try:
                if number or not self._has_lists():
                    self._update(self.mirrors[number % len(self.mirrors)], how)
                return take(how)
            except LabError as error:
                last = error
                say(f"try {number + 1} of {len(TRIES)} for {self.name} failed: {error}")
        raise Unavailable(f"{self.name} cannot be had from {' or '.join(self.mirrors)}: {last}")

    def _update(self, mirror: str, how: Sequence[str]) -> None:
        self._sources(mirror)
        try:
            self._apt("apt-get", ["update", *how], UPDATE_LIMIT)
        except LabError as error:
            # APT takes lists whole or not at all: those from before are still there.
            if not self._has_lists():
                raise
            say(f"goes on with the lists there are for {self.name}: {error}")

    def _has_lists(self) -> bool:
        """Whether there is a list of each suite, from the mirror that was asked last."""
        files = [file.name for file in (self.folder / "state/lists").glob("*_Packages*")]
        return all(any(f"_dists_{suite}_" in name for name in files) for suite in self.suites)

    def _sources(self, mirror: str) -> None:
        signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
        options = f"[arch={self.arch} target=Packages{signed}]"
        lines = [f"deb {options} {mirror} {suite} main\n" for suite in self.suites]
        (self.folder / "sources.list").write_text("".join(lines))

    def _apt(
        self, program: str, words: Sequence[str], limit: float = 120.0, cwd: Path | None = None
    ) -> str:
        command = [program, "-c", self.configuration, *words]
        return run(command, cwd=cwd or self.archives, limit=limit)


def _all_there(files: dict[Path, int]) -> bool:
    return all(file.exists() and file.stat().st_size == size for file, size in files.items())


def first_of(places: Iterable[Callable[[], T]]) -> T:
    """What the first of several places has that can be had today."""
    reasons = []
    for place in places:
        try:
            return place()
        except Unavailable as error:
            reasons.append(str(error))
            say(f"looking at the next place: {error}")
    raise Unavailable("; ".join(reasons))


def loader(root: Path) -> str:
    """The command line that runs a program of an unpacked root with the root's own libraries.

    Unlike LD_LIBRARY_PATH, naming the loader keeps the libraries from what the program starts.
    """
    folders = [f"{root}{prefix}/lib/x86_64-linux-gnu" for prefix in ("", "/usr")]
    # Newer releases have everything under /usr.
    program = next(
        (file for folder in folders if (file := Path(folder, "ld-linux-x86-64.so.2")).exists()),
        Path(folders[0], "ld-linux-x86-64.so.2"),
    )
    return f"'{program}' --library-path '{':'.join(folders)}'"


def emulator(cache: Cache) -> Step:
    """QEMU and the device tree compiler, as wrappers in the step's `bin`."""
    # QEMU 10: the release's own 7.2 does not model the alignment faults of Device memory.
    wanted = ["qemu-system-x86", "qemu-system-arm", "device-tree-compiler"]

    def from_place(suites: tuple[str, ...], suite: str) -> Step:
        packages = Packages(cache, "amd64", *suites)

        def make(folder: Path) -> None:
            root, commands = folder / "root", folder / "bin"
            packages.unpack_with_dependencies(wanted, root, suite=suite)
            commands.mkdir()
            for name in ("dtc", "fdtoverlay"):
                script(commands / name, f"exec {loader(root)} '{root}/usr/bin/{name}' \"$@\"")
            places = ("share/seabios", "lib/ipxe/qemu", "share/qemu")
            data = " ".join(f"-L '{root}/usr/{place}'" for place in places)
            modules = f"QEMU_MODULE_DIR='{root}/usr/lib/x86_64-linux-gnu/qemu'"
            for name in ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-system-arm"):
                command = f"{loader(root)} '{root}/usr/bin/{name}' {data}"
                script(commands / name, f'{modules} exec {command} "$@"')

        return cache.step("emulator", [packages.key, wanted, loader(Path("/"))], make)

    return first_of(
        [
            lambda: from_place((RELEASE, BACKPORTS), BACKPORTS),
            lambda: from_place((NEXT_RELEASE,), NEXT_RELEASE),
        ]
    )


def user_emulator(cache: Cache) -> Step:
    """QEMU that runs single programs of other architectures, in the step's `bin`. It is linked statically."""

    def from_place(suites: tuple[str, ...], suite: str) -> Step:
        packages = Packages(cache, "amd64", *suites)

        def make(folder: Path) -> None:
            root = folder / "root"
            packages.unpack_with_dependencies(["qemu-user"], root, suite=suite)
            (folder / "bin").symlink_to(root / "usr/bin")

        return cache.step("user-emulator", [packages.key], make)

    return first_of(
        [
            lambda: from_place((RELEASE, BACKPORTS), BACKPORTS),
            lambda: from_place((NEXT_RELEASE,), NEXT_RELEASE),
        ]
    )
