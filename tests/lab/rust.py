"""Rust for the architectures that rustup has no library for here: Debian's compiler, unpacked privately.

The compiler and its library for another architecture must be of one build, so they come from one suite.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cache import Cache, Step, run, script
from host import CROSS, TARGETS
from packages import NEXT_RELEASE, RELEASE, Packages, first_of, loader


@dataclass(frozen=True)
class Rust:
    """A compiler, and what cargo is to find in its environment to use it."""

    version: str
    environment: dict[str, str] = field(default_factory=dict)


# Where each architecture's is: the suite, the compiler's package and its library's. The first of Debian 12 and 13 are of the
# version that Cargo.toml promises.
PLACES = {
    "amd64": [(RELEASE, "rustc-web", "libstd-rust-web-dev")],
    "arm64": [(RELEASE, "rustc-web", "libstd-rust-web-dev")],
    "armhf": [(RELEASE, "rustc-web", "libstd-rust-web-dev")],
    "riscv64": [
        (NEXT_RELEASE, "rustc", "libstd-rust-dev"),
        ("testing", "rustc", "libstd-rust-dev"),
    ],
}


def rust(cache: Cache, arch: str) -> Rust:
    """The oldest Rust there is for an architecture; Unavailable where there is none today."""
    places: list[Callable[[], Rust]] = [
        lambda place=place: _rust(cache, arch, *place) for place in PLACES[arch]
    ]
    return first_of(places)


def host_rust() -> Rust:
    """The host's own, for the host's own architecture."""
    return Rust(run([os.environ.get("RUSTC", "rustc"), "--version"]).split()[1])


def _rust(cache: Cache, arch: str, suite: str, compiler: str, library: str) -> Rust:
    native = _compiler(cache, suite, compiler)
    packages = Packages(cache, arch, suite)

    def make(folder: Path) -> None:
        root, parts = folder / "root", Path("lib/rustlib")
        packages.unpack([library], root)
        sysroot = folder / "sysroot"
        (sysroot / parts).mkdir(parents=True)
        for target in {TARGETS["amd64"], TARGETS[arch]}:
            place = root if target == TARGETS[arch] else native.folder / "root"
            (sysroot / parts / target).symlink_to(place / "usr" / parts / target)
        own = native.folder / "root"
        command = f"exec {loader(own)} '{own}/usr/bin/rustc' --sysroot '{sysroot}'"
        script(folder / "rustc", f'{command} "$@"')

    made = cache.step(f"rust-{arch}-{suite}", [native.key, packages.key, suite, library], make)
    program = str(made.folder / "rustc")
    environment = {"RUSTC": program}
    if arch in CROSS:
        name = TARGETS[arch].upper().replace("-", "_")
        environment[f"CARGO_TARGET_{name}_LINKER"] = f"{CROSS[arch]}-gcc"
    return Rust(run([program, "--version"]).split()[1], environment)


def _compiler(cache: Cache, suite: str, compiler: str) -> Step:
    packages = Packages(cache, "amd64", suite)

    def make(folder: Path) -> None:
        # The host links build scripts and macros with its own compiler.
        without = ["gcc", "libc-dev", "binutils"]
        packages.unpack_with_dependencies([compiler], folder / "root", without=without)

    return cache.step(f"rustc-{suite}", [packages.key, compiler], make)
