#!/usr/bin/env python3
"""Builds the crate with the oldest Rust it promises for every architecture it promises, and runs the Rust tests of those
that have no machine here, or not one for all of them.

    python3 tests/lab/portable.py [amd64] [arm64] [armhf] [riscv64]

What is built is the library down to machine code, with the bindings to Python. The tests of armhf and riscv64 are run by
QEMU's emulation of single programs, over the host's kernel: page protection, truncated files and signals are real.
"""

import argparse
import functools
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import host
from cache import Cache, LabError, Unavailable, cache_root, not_checked, run, say
from host import CROSS, TARGETS
from packages import user_emulator
from rust import Rust, rust

SOURCE = Path(__file__).resolve().parents[2]
# What runs the programs of an architecture.
EMULATORS = {"armhf": "qemu-arm", "riscv64": "qemu-riscv64"}
# The architectures of the required machines are required here too; the others as far as the mirrors let them.
REQUIRED = {"amd64", "arm64"}
BUILD_LIMIT, TEST_LIMIT = 600.0, 600.0


@dataclass
class Count:
    passed: int = 0
    failed: int = 0

    def attempt(self, what: str, arch: str, part: Callable[[], None]) -> None:
        """One part of the whole for one architecture; the others are tried whatever comes of it."""
        start = time.monotonic()
        try:
            part()
        except Unavailable as error:
            if arch in REQUIRED:
                self._fail(what, error)
            else:
                not_checked(what, error)
        except LabError as error:
            self._fail(what, error)
        else:
            self.passed += 1
            say(f"passed in {time.monotonic() - start:.0f} s: {what}")

    def _fail(self, what: str, error: LabError) -> None:
        self.failed += 1
        say(f"FAILED: {what}: {error}")


class Portable:
    """Builds and tests for one architecture."""

    def __init__(self, cache: Cache, arch: str) -> None:
        self.cache = cache
        self.arch = arch
        self.target = TARGETS[arch]

    @functools.cached_property
    def compiler(self) -> Rust:
        host.install(self.arch)
        return rust(self.cache, self.arch)

    def build(self) -> None:
        """With the oldest Rust that Cargo.toml promises."""
        compiler = self.compiler
        if not compiler.version.startswith(f"{promised()}."):
            # A newer one is all that can be had: it is worth a build, and no proof of the promise.
            not_checked(
                f"{self.target} with Rust {promised()}",
                f"the mirror has {compiler.version} only, which it was built with instead",
            )
        say(f"building for {self.target} with Rust {compiler.version}")
        command = ["cargo", "rustc", "--quiet", "--lib", "--crate-type", "rlib"]
        self._cargo(compiler, [*command, "--features", "python"], BUILD_LIMIT)

    def test(self) -> None:
        """The Rust tests, under emulation."""
        compiler = self.compiler
        emulator = user_emulator(self.cache).folder / "bin" / EMULATORS[self.arch]
        name = self.target.upper().replace("-", "_")
        runner = {f"CARGO_TARGET_{name}_RUNNER": f"{emulator} -L /usr/{CROSS[self.arch]}"}
        say(f"running the Rust tests of {self.target}")
        output = self._cargo(compiler, ["cargo", "test", "--quiet"], TEST_LIMIT, runner)
        passed = [int(count) for count in re.findall(r"(\d+) passed", output)]
        if not sum(passed):
            raise LabError("no test ran")
        say(f"{sum(passed)} Rust tests of {self.target} passed")

    def _cargo(
        self, compiler: Rust, command: list[str], limit: float, more: dict[str, str] | None = None
    ) -> str:
        environment = {
            "CARGO_TARGET_DIR": str(self.cache.root / "target/oldest"),
            "PYO3_CROSS_PYTHON_VERSION": "3.11",
            "PYO3_BUILD_EXTENSION_MODULE": "1",
            **compiler.environment,
            **(more or {}),
        }
        command = [*command, "--target", self.target]
        return run(command, cwd=SOURCE, env=environment, limit=limit)


def promised() -> str:
    wanted = re.search(r'^rust-version = "(.*)"$', (SOURCE / "Cargo.toml").read_text(), re.M)
    if wanted is None:
        raise LabError("Cargo.toml promises no Rust version")
    return wanted.group(1)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build for every architecture.")
    parser.add_argument("architectures", nargs="*", metavar="ARCHITECTURE")
    chosen = parser.parse_args().architectures or list(TARGETS)
    if unknown := set(chosen) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    count, start = Count(), time.monotonic()
    try:
        cache = Cache(cache_root())
        for arch in chosen:
            one = Portable(cache, arch)
            count.attempt(f"the build for {one.target}", arch, one.build)
    except LabError as error:
        say(f"FAILED: {error}")
        count.failed += 1
    say(f"{time.monotonic() - start:.0f} s in all")
    print(f"{count.passed} passed, {count.failed} failed", flush=True)
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main())
