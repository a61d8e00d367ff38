"""Plant single bugs in the sources, and see whether a test notices: README.md says how and why."""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "mutation"
TREE = WORK / "tree0"
RESULTS = WORK / "results.jsonl"
ACCEPTED = HERE / "accepted.txt"

# What is mutated, and how the figures are grouped.
MODULES = ("access", "mock", "trace", "source", "device")
# Assembly, which cargo-mutants cannot change and tests/tracer judges; and what is itself a test.
LEFT_OUT = ("src/access/trap/tests.rs", "src/access/trap/tests/**")

# The Rust tests that can notice. Those of maps (map, hostile) hardly open a device; what `faults` does a million times
# the Python tests do a few thousand times.
RUST = ("--lib", "--test", "device", "--test", "mock")
# Python tests that know most of a module, to be asked first; all others come behind them.
FIRST = {
    "access": ("test_faults", "test_lost_updates", "test_regions", "test_views", "test_lifetimes"),
    "mock": (
        "test_mock",
        "test_mock_rules",
        "test_mock_limits",
        "test_serve",
        "test_library_behaviour",
    ),
    "trace": ("test_trace", "test_coverage", "test_plugin", "test_replay_rtc"),
    "source": ("test_sources", "test_serve", "test_irq_async", "test_board"),
    "device": (
        "test_registers",
        "test_fields",
        "test_regions",
        "test_views",
        "test_wait",
        "test_faults",
    ),
}
# Python tests that cannot notice, for they read files only.
UNRELATED = ("test_docs.py", "test_hostile_files.py", "cli/test_cli_maps.py")

# Seconds. A mutant that needs longer runs in circles, which somebody would notice.
BUILD, RUST_TESTS, PYTHON_TESTS = 600, 120, 600
# Bytes. A mutant that wants more would end others.
MEMORY = 4 << 30


@dataclass(frozen=True)
class Mutant:
    """One change of one place."""

    file: str
    # What it does, without the line: it keeps its name while others move it about.
    name: str
    start: tuple[int, int]
    end: tuple[int, int]
    replacement: str

    @property
    def module(self) -> str:
        return Path(self.file).parts[1].removesuffix(".rs")

    def apply(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        (first, left), (last, right) = self.start, self.end
        before = "".join(lines[: first - 1]) + lines[first - 1][: left - 1]
        after = lines[last - 1][right - 1 :] + "".join(lines[last:])
        return before + self.replacement + after


@dataclass(frozen=True)
class Result:
    """What became of a mutant."""

    name: str
    # Of the file it was planted in: another text, another result.
    text: str
    # "rust", "python": caught by these; "timeout", "unviable", "survived".
    outcome: str
    # The test that failed.
    by: str
    seconds: float


def every_mutant() -> list[Mutant]:
    patterns = [f"src/{module}{end}" for module in MODULES for end in ("/**", ".rs")]
    files = [word for pattern in patterns for word in ("--file", pattern)]
    files += [word for pattern in LEFT_OUT for word in ("--exclude", pattern)]
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json", "--level", "error", *files],
        cwd=TREE,
        capture_output=True,
        check=True,
    )
    times: collections.Counter[str] = collections.Counter()
    found = []
    for item in json.loads(listed.stdout):
        name = re.sub(r"^([^:]*):\d+:\d+:", r"\1:", item["name"])
        times[name] += 1
        if times[name] > 1:
            name += f" (the {times[name]}th)"
        span = item["span"]
        start, end = ((span[key]["line"], span[key]["column"]) for key in ("start", "end"))
        found.append(Mutant(item["file"], name, start, end, item["replacement"]))
    return found


def sample(mutants: list[Mutant], count: int, seed: str) -> list[Mutant]:
    """`count` of them, of each module by its share. Which ones depends on their names alone, so that a change of the
    sources changes few of them."""

    def lot(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed}\n{mutant.name}".encode()).hexdigest()

    chosen = []
    for module in MODULES:
        own = sorted((mutant for mutant in mutants if mutant.module == module), key=lot)
        chosen += own[: round(len(own) * count / len(mutants))]
    # In the order of the lot, so that half a run tells of all modules.
    return sorted(chosen, key=lot)


def copy_tree() -> None:
    """The sources as they are now, in a place where they may be changed. Files that are the same keep their times, for
    cargo's sake."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {name for name in names.stdout.split("\0") if name and (ROOT / name).is_file()}
    for path in TREE.rglob("*"):
        inside = path.relative_to(TREE)
        ours = inside.parts[0] not in ("target", ".venv")
        if ours and path.is_file() and str(inside) not in wanted:
            path.unlink()
    for name in sorted(wanted):
        source, copy = ROOT / name, TREE / name
        if not copy.is_file() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            shutil.copymode(source, copy)


def environment() -> dict[str, str]:
    """Builds that take seconds, and find more than those of a release."""
    fast = {
        "CARGO_INCREMENTAL": "1",
        "CARGO_PROFILE_RELEASE_LTO": "off",
        "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
        "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
        "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
        "CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS": "true",
        "PYO3_PYTHON": str(TREE / ".venv/bin/python"),
        "RUST_BACKTRACE": "0",
        "CARGO_TERM_COLOR": "never",
    }
    return {**os.environ, **fast}


class TooLong(Exception):
    """A command did not end in time."""


def run(
    command: Iterable[str], seconds: float, limit: int | None = None, **more: str
) -> tuple[bool, str]:
    """Whether a command ends well, and what it said; all it has started ends with it."""

    def prepare() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # A background job of a shell starts with it ignored, and so would the tests.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        list(command),
        cwd=TREE,
        env={**environment(), **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=prepare,
    ) as child:
        try:
            said, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TooLong from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode == 0, said


def build_rust() -> bool:
    return run(["cargo", "test", "--quiet", "--no-run", *RUST], BUILD)[0]


def test_rust(skipped: list[str]) -> str | None:
    """The test that fails."""
    skip = [word for name in skipped for word in ("--skip", name)]
    fine, said = run(["cargo", "test", "--quiet", *RUST, "--", *skip], RUST_TESTS, MEMORY)
    if fine:
        return None
    failed = re.search(r"^failures:\n\s+(\S+)$", said, re.MULTILINE)
    return failed[1] if failed else last_words(said)


def extension() -> Path:
    (found,) = (TREE / ".venv/lib").glob("python*/site-packages/devregs/_devregs*.so")
    return found


def build_python() -> bool:
    command = ["cargo", "build", "--quiet", "--release", "--lib", "--features", "python"]
    fine, _ = run(command, BUILD, PYO3_BUILD_EXTENSION_MODULE="1")
    if fine:
        place = extension()
        # Anew, for a library that is mapped somewhere must not change.
        fresh = place.with_name("fresh")
        shutil.copyfile(TREE / "target/release/libdevregs.so", fresh)
        fresh.replace(place)
    return fine


def test_python(module: str, skipped: list[str], quick: bool) -> str | None:
    first = [f"tests/python/{name}.py" for name in FIRST[module]]
    files = first if quick else [*first, "tests/python"]
    ignored = [f"--ignore=tests/python/{name}" for name in UNRELATED]
    pytest = [str(TREE / ".venv/bin/python"), "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    skip = ["-k", " and ".join(f"not {name}" for name in skipped)] if skipped else []
    fine, said = run([*pytest, *skip, *ignored, *files], PYTHON_TESTS, 2 * MEMORY)
    if fine:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    return failed[1] if failed else last_words(said)


def last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if "signal" in line or "Fatal" in line or "abort" in line]
    return (told or lines or ["nothing"])[-1][:120]


def judge(mutant: Mutant, skipped: list[str], *, python: bool, quick: bool) -> tuple[str, str]:
    path = TREE / mutant.file
    before = path.read_text()
    path.write_text(mutant.apply(before))
    try:
        if not build_rust():
            return "unviable", ""
        if failed := test_rust(skipped):
            return "rust", failed
        if not python:
            return "survived", ""
        if not build_python():
            return "unviable", "with the bindings"
        if failed := test_python(mutant.module, skipped, quick):
            return "python", failed
    except TooLong:
        return "timeout", ""
    finally:
        path.write_text(before)
    return "survived", ""


def digest(file: str) -> str:
    return hashlib.sha256((TREE / file).read_bytes()).hexdigest()[:16]


def known() -> dict[str, Result]:
    """The last result of each mutant."""
    if not RESULTS.exists():
        return {}
    lines = RESULTS.read_text().splitlines()
    return {result.name: result for result in (Result(**json.loads(line)) for line in lines)}


def accepted() -> dict[str, str]:
    """Mutants that may survive, and why: a name in a line, the reason indented below it."""
    found: dict[str, str] = {}
    name = ""
    for line in ACCEPTED.read_text().splitlines():
        if line.startswith((" ", "\t")):
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            name = line
            found[name] = ""
    if missing := [name for name, reason in found.items() if not reason]:
        sys.exit(f"{ACCEPTED}: no reason is given for {missing[0]}")
    return found


def prepare() -> None:
    if shutil.which("cargo-mutants") is None:
        sys.exit("cargo-mutants is missing: cargo install cargo-mutants --locked")
    copy_tree()
    setup = ["make", "setup", f"PYTHON={sys.executable}"]
    if (
        not (TREE / ".venv").exists()
        and subprocess.run(setup, cwd=TREE, env=environment()).returncode
    ):
        sys.exit("the wheel cannot be built")


def check_baseline(skipped: list[str]) -> None:
    """Without a mutant every test passes, or nothing can be learnt."""
    print("first without a mutant", flush=True)
    if not build_rust() or not build_python():
        sys.exit("the sources cannot be built")
    installed = extension().parent
    for file in (TREE / "python/devregs").rglob("*.py*"):
        shutil.copyfile(file, installed / file.relative_to(TREE / "python/devregs"))
    run(["cargo", "build", "--quiet", "--release", "--package", "devregs-tracer"], BUILD)
    for failed in (test_rust(skipped), test_python("device", skipped, False)):
        if failed:
            sys.exit(f"{failed} fails without a mutant")


def table(mutants: list[Mutant], results: dict[str, Result]) -> Iterator[str]:
    columns = ("rust", "python", "timeout", "unviable", "survived")
    count: dict[str, collections.Counter[str]] = {
        module: collections.Counter() for module in (*MODULES, "all")
    }
    let = accepted()
    for mutant in mutants:
        result = results.get(mutant.name)
        outcome = result.outcome if result else "not run"
        if outcome == "survived" and mutant.name in let:
            outcome = "accepted"
        count[mutant.module][outcome] += 1
        count["all"][outcome] += 1
    names = (*columns, "accepted", "not run")
    yield "| module | mutants | " + " | ".join(names) + " |"
    yield "| --- " * (len(names) + 2) + "|"
    for module, found in count.items():
        figures = " | ".join(str(found[name]) for name in names)
        yield f"| {module} | {sum(found.values())} | {figures} |"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=150, help="how many mutants (150)")
    options.add_argument("--seed", default="devregs", help="chooses others (devregs)")
    options.add_argument("--match", default="", help="only those whose name has this pattern")
    options.add_argument("--again", action="store_true", help="those that survived, once more")
    options.add_argument(
        "--quick",
        action="store_true",
        help="of the Python tests those that know most of the module",
    )
    options.add_argument("--no-python", action="store_true", help="Rust tests only")
    options.add_argument(
        "--skip", action="append", default=[], help="a test that fails here anyway"
    )
    options.add_argument("--shard", default="0/1", help="this share of the run, as 0/2 and 1/2")
    options.add_argument("--no-baseline", action="store_true", help="trust that all tests pass")
    options.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    options.add_argument("--report", action="store_true", help="run nothing, show the figures")
    chosen: Any = options.parse_args()
    share, shares = map(int, chosen.shard.split("/"))
    global TREE
    TREE = WORK / f"tree{share}"
    prepare()
    mutants = sample(every_mutant(), chosen.count, chosen.seed)
    mutants = [mutant for mutant in mutants if re.search(chosen.match, mutant.name)]
    results = known()
    let = accepted()

    def is_due(mutant: Mutant) -> bool:
        result = results.get(mutant.name)
        if result is None or result.text != digest(mutant.file):
            return True
        return chosen.again and result.outcome == "survived" and mutant.name not in let

    due = [] if chosen.report else [mutant for mutant in mutants[share::shares] if is_due(mutant)]
    if due and not chosen.no_baseline:
        check_baseline(chosen.skip)
    end = time.monotonic() + chosen.minutes * 60
    for number, mutant in enumerate(due, 1):
        if time.monotonic() > end:
            print(f"{len(due) - number + 1} are left: run it again to go on")
            break
        begun = time.monotonic()
        outcome, by = judge(mutant, chosen.skip, python=not chosen.no_python, quick=chosen.quick)
        seconds = round(time.monotonic() - begun, 1)
        result = Result(mutant.name, digest(mutant.file), outcome, by, seconds)
        results[mutant.name] = result
        with RESULTS.open("a") as file:
            print(json.dumps(asdict(result)), file=file)
        print(f"{number}/{len(due)} {outcome:8} {seconds:6} s  {mutant.name}  {by}", flush=True)

    print("\n".join(table(mutants, results)))
    survivors = [
        mutant
        for mutant in mutants
        if mutant.name in results
        and results[mutant.name].outcome == "survived"
        and mutant.name not in let
    ]
    for mutant in survivors:
        print(f"survived, line {mutant.start[0]}: {mutant.name}")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
