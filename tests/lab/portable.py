#!/usr/bin/env python3
"""Builds the crate with the oldest Rust it promises, for every architecture it promises.

    python3 tests/lab/portable.py

The compiler is Debian stable's, with its standard library for each architecture. What is built is
the library down to machine code, without the last link: that would need a linker for each.
"""

import re
import sys
from pathlib import Path

from cache import Cache, LabError, Step, cache_root, run, say, script
from packages import Packages, loader
from run import install_host_packages

SOURCE = Path(__file__).resolve().parents[2]
RELEASE = "trixie"
TARGETS = {
    "amd64": "x86_64-unknown-linux-gnu",
    "arm64": "aarch64-unknown-linux-gnu",
    "armhf": "armv7-unknown-linux-gnueabihf",
    "riscv64": "riscv64gc-unknown-linux-gnu",
}


def rust(packages: Packages) -> Step:
    """A rustc for all the architectures, run by its own C library."""

    def make(folder: Path) -> None:
        root = folder / "root"
        packages.unpack_with_dependencies(["rustc"], root, without=["gcc", "libc-dev", "binutils"])
        packages.unpack([f"libstd-rust-dev:{arch}" for arch in TARGETS], root)
        run_it = loader(root).replace(f"{root}/lib/", f"{root}/usr/lib/")
        script(
            folder / "rustc", f"exec {run_it} '{root}/usr/bin/rustc' --sysroot '{root}/usr' \"$@\""
        )

    return packages.cache.step("rust-oldest", [packages.lists.key, sorted(TARGETS)], make)


def main() -> int:
    passed = failed = 0
    try:
        install_host_packages()
        cache = Cache(cache_root())
        packages = Packages(cache, RELEASE, list(TARGETS), "apt-oldest")
        compiler = rust(packages).folder / "rustc"
        wanted = re.search(r'^rust-version = "(.*)"$', (SOURCE / "Cargo.toml").read_text(), re.M)
        version = run([compiler, "--version"]).split()[1]
        if wanted is None or not version.startswith(wanted.group(1) + "."):
            raise LabError(f"the compiler is {version}, not the one Cargo.toml promises")
        for target in TARGETS.values():
            say(f"building for {target} with Rust {version}")
            command = ["cargo", "rustc", "--quiet", "--lib", "--crate-type", "rlib"]
            environment = {
                "RUSTC": str(compiler),
                "CARGO_TARGET_DIR": str(cache.root / "target/oldest"),
                "PYO3_CROSS_PYTHON_VERSION": "3.11",
                "PYO3_BUILD_EXTENSION_MODULE": "1",
            }
            try:
                run(
                    [*command, "--features", "python", "--target", target],
                    cwd=SOURCE,
                    env=environment,
                )
                passed += 1
            except LabError as error:
                say(f"FAILED: {target}: {error}")
                failed += 1
    except LabError as error:
        say(f"FAILED: {error}")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
