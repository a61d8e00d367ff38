"""Debian packages, fetched by an APT of the lab's own and unpacked privately: the host stays as is.

The private APT has lists, a cache and a package status of its own, knows both architectures, and
takes its mirrors from the host's configuration. Its package status is empty, so that a package
brings all it needs, the C library included: it runs by itself, whatever the host has installed.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from cache import Cache, LabError, Step, run, say, script

# The lab's kernels, guests and tools are those of one release, whatever the host runs.
RELEASE = "bookworm"
BACKPORTS = f"{RELEASE}-backports"
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
APT::Architecture "amd64";
APT::Architectures {{ {architectures} }};
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "3";
"""


def host_mirrors() -> tuple[str, str]:
    """Where the host gets Debian and its security updates from."""
    release = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.M)
    codename = release.group(1) if release else RELEASE
    targets = run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    found: dict[str, str] = {}
    for line in targets.splitlines():
        suite, _, mirror = line.partition(" ")
        found.setdefault(suite, mirror)
    main = found.get(codename) or found.get("stable")
    security = found.get(f"{codename}-security") or found.get("stable-security")
    if not main or not security:
        raise LabError(
            f"apt has no sources for {codename} and {codename}-security: the lab needs both"
        )
    return main, security


class Packages:
    """The private APT."""

    def __init__(
        self,
        cache: Cache,
        release: str = RELEASE,
        architectures: Sequence[str] = ("amd64", "arm64"),
        name: str = "apt",
    ) -> None:
        self.cache = cache
        self.architectures = architectures
        self.configuration = cache.root / name / "apt.conf"
        main, security = host_mirrors()
        sources = [(main, release)]
        if release == RELEASE:
            sources += [(main, f"{RELEASE}-updates"), (main, BACKPORTS)]
            sources += [(security, f"{RELEASE}-security")]
        self.lists = cache.step(
            name,
            [CONFIGURATION, sources, architectures],
            lambda folder: self._set_up(folder, sources),
        )

    def _set_up(self, folder: Path, sources: list[tuple[str, str]]) -> None:
        for sub in ("state/lists/partial", "cache/archives/partial", "none"):
            (folder / sub).mkdir(parents=True)
        (folder / "status").touch()
        signed = f" signed-by={KEYRING}" if KEYRING.exists() else ""
        arch = ",".join(self.architectures)
        (folder / "sources.list").write_text(
            "".join(
                f"deb [arch={arch}{signed}] {mirror} {suite} main\n" for mirror, suite in sources
            )
        )
        quoted = " ".join(f'"{arch}";' for arch in self.architectures)
        self.configuration.write_text(CONFIGURATION.format(folder=folder, architectures=quoted))
        self._update()

    def depends(self, package: str) -> list[str]:
        """The direct dependencies of a package."""
        text = run(["apt-cache", "-c", self.configuration, "depends", package])
        return re.findall(r"^ *Depends: (\S+)$", text, re.M)

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Fetch just these packages and unpack them into a folder."""
        archives = into.with_name(into.name + ".debs")
        archives.mkdir()
        self._fetch(["download", *packages], archives)
        self._extract(archives, into)

    def unpack_with_dependencies(
        self, packages: Sequence[str], into: Path, *, suite: str = "", without: Sequence[str] = ()
    ) -> None:
        """The same with all they depend on, but nothing for the sake of what `without` names."""
        archives = into.with_name(into.name + ".debs")
        (archives / "partial").mkdir(parents=True)
        status = archives / "status"
        head = "Status: install ok installed\nVersion: 999\nArchitecture: amd64\nMaintainer: lab\n"
        status.write_text("".join(f"Package: {name}\n{head}\n" for name in without))
        command = ["install", "--yes", "--download-only"]
        command += ["-o", f"Dir::Cache::archives={archives}", "-o", f"Dir::State::status={status}"]
        if suite:
            command += ["-t", suite]
        self._fetch([*command, *packages], archives)
        self._extract(archives, into)

    def _fetch(self, command: Sequence[str], folder: Path) -> None:
        fetch = ["apt-get", "-c", str(self.configuration), *command]
        try:
            run(fetch, cwd=folder)
        except LabError:
            # The mirror may have moved on from what the lists say.
            say("fetching once more, with new lists")
            self._update()
            run(fetch, cwd=folder)

    def _update(self) -> None:
        # A list that cannot be fetched is only a warning to apt, unless told otherwise.
        run(["apt-get", "-c", self.configuration, "update", "-o", "APT::Update::Error-Mode=any"])

    @staticmethod
    def _extract(archives: Path, into: Path) -> None:
        fetched = sorted(archives.glob("*.deb"))
        if not fetched:
            raise LabError(f"apt fetched nothing for {into}")
        for archive in fetched:
            run(["dpkg", "-x", archive, into])
        shutil.rmtree(archives)


def loader(root: Path) -> str:
    """The command line that runs a program of an unpacked root with the root's own libraries.

    Unlike LD_LIBRARY_PATH, naming the loader keeps the libraries from what the program starts.
    """
    folders = [f"{root}{prefix}/lib/x86_64-linux-gnu" for prefix in ("", "/usr")]
    return (
        f"'{root}/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2' --library-path '{':'.join(folders)}'"
    )


def emulator(packages: Packages) -> Step:
    """QEMU and the device tree compiler, as wrappers in the step's `bin`."""
    # QEMU 10: the release's own 7.2 does not model the alignment faults of Device memory.
    wanted = ["qemu-system-x86", "qemu-system-arm", "device-tree-compiler"]

    def make(folder: Path) -> None:
        root, commands = folder / "root", folder / "bin"
        packages.unpack_with_dependencies(wanted, root, suite=BACKPORTS)
        commands.mkdir()
        for name in ("dtc", "fdtoverlay"):
            script(commands / name, f"exec {loader(root)} '{root}/usr/bin/{name}' \"$@\"")
        places = ("share/seabios", "lib/ipxe/qemu", "share/qemu")
        data = " ".join(f"-L '{root}/usr/{place}'" for place in places)
        modules = f"QEMU_MODULE_DIR='{root}/usr/lib/x86_64-linux-gnu/qemu'"
        for name in ("qemu-system-x86_64", "qemu-system-aarch64"):
            command = f"{loader(root)} '{root}/usr/bin/{name}' {data}"
            script(commands / name, f'{modules} exec {command} "$@"')

    return packages.cache.step("emulator", [packages.lists.key, wanted, loader(Path("/"))], make)
