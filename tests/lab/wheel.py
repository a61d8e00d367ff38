"""The wheels under test: this source tree, built for CPython 3.11 of the guests."""

import sys
import time
import zipfile
from pathlib import Path

from cache import Cache, LabError, Step, run, say
from host import TARGETS
from rust import Rust

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


def build(cache: Cache, source: Path, tool: Step, python: Step, arch: str, rust: Rust) -> Path:
    """Build the wheel of a guest. Cargo knows what is stale, so this runs every time."""
    target = TARGETS[arch]
    out = cache.root / "wheels" / arch
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.whl"):
        old.unlink()
    command = [tool.folder / "bin/maturin", "build", "--release", "--quiet"]
    command += ["--compatibility", "linux", "--out", out]
    environment = {"CARGO_TARGET_DIR": str(cache.root / "target" / arch), **rust.environment}
    if arch == "amd64":
        command += ["--interpreter", python.folder / "python3.11"]
    else:
        command += ["--target", target, "--interpreter", "python3.11"]
        environment["PYO3_CROSS_PYTHON_VERSION"] = "3.11"
    say(f"building the wheel for {target} with Rust {rust.version}")
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
