"""The wheels under test: this source tree, built for CPython 3.11 of the guests."""

import os
import sys
import time
import zipfile
from pathlib import Path

from cache import Cache, LabError, Step, run, say, script
from packages import Packages, loader

TARGETS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
# The newest Rust of the release, and its standard library for the other architecture.
RUST = "rustc-web"
RUST_STD = "libstd-rust-web-dev"
PYTEST = "pytest>=8,<10"


def tools(cache: Cache, source: Path) -> Step:
    """A virtual environment with maturin, in the version that the source tree asks for."""
    wanted = [
        line
        for line in (source / "requirements-dev.txt").read_text().splitlines()
        if "maturin" in line
    ]

    def make(folder: Path) -> None:
        run([sys.executable, "-m", "venv", folder])
        run([folder / "bin/python", "-m", "pip", "install", "--quiet", *(wanted or ["maturin"])])

    return cache.step("tools", wanted, make)


def guest_site(cache: Cache, tool: Step) -> Step:
    """pytest and what it needs, as packages of pure Python that run in every guest."""

    def make(folder: Path) -> None:
        pip = [str(tool.folder / "bin/python"), "-m", "pip", "install", "--quiet"]
        pure = ["--only-binary=:all:", "--platform=any", "--implementation=py"]
        run([*pip, *pure, "--python-version=3.11", "--target", str(folder), PYTEST])

    return cache.step("site", [tool.key, PYTEST], make)


def rust_for_arm64(packages: Packages) -> Step:
    """A rustc that knows arm64 as well: rustup's targets need not be within reach, Debian's are."""

    def make(folder: Path) -> None:
        root = folder / "root"
        # The host links build scripts and macros with its own compiler.
        packages.unpack_with_dependencies([RUST], root, without=["gcc", "libc-dev", "binutils"])
        packages.unpack([f"{RUST_STD}:arm64"], root)
        script(
            folder / "rustc",
            f"exec {loader(root)} '{root}/usr/bin/rustc' --sysroot '{root}/usr' \"$@\"",
        )

    return packages.cache.step(
        "rust-arm64", [packages.lists.key, RUST, RUST_STD, loader(Path("/"))], make
    )


def build(
    cache: Cache, source: Path, tool: Step, python: Step, arch: str, rust: Step | None
) -> Path:
    """Build the wheel of a guest. Cargo knows what is stale, so this runs every time."""
    target = TARGETS[arch]
    out = cache.root / "wheels" / arch
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):
        old.unlink()
    maturin = os.environ.get("MATURIN") or str(tool.folder / "bin/maturin")
    command = [
        maturin,
        "build",
        "--release",
        "--quiet",
        "--compatibility",
        "linux",
        "--out",
        str(out),
    ]
    environment = {"CARGO_TARGET_DIR": str(cache.root / "target" / arch)}
    if rust is None:
        command += ["--interpreter", str(python.folder / "python3.11")]
    else:
        command += ["--target", target, "--interpreter", "python3.11"]
        environment["RUSTC"] = str(rust.folder / "rustc")
        environment["PYO3_CROSS_PYTHON_VERSION"] = "3.11"
        environment["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] = "aarch64-linux-gnu-gcc"
    say(f"building the wheel for {target}")
    start = time.monotonic()
    run(command, cwd=source, env=environment)
    say(f"built it in {time.monotonic() - start:.0f} s")
    wheels = list(out.glob("*.whl"))
    if len(wheels) != 1:
        raise LabError(f"maturin made {len(wheels)} wheels for {target}, not one")
    return wheels[0]


def files(wheel: Path) -> dict[str, bytes]:
    """What a wheel installs, by path."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
