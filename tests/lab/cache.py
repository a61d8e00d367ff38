"""The lab's folder outside the source tree, the steps that fill it, and commands with a time limit."""

import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot go on. Its text is for the person who ran it."""


class Unavailable(LabError):
    """What a registry would not give today, after all tries and at every place it could be had."""


# Seconds that a command may take where nothing else is said.
LIMIT = 900.0
# Names a file to which every run of the lab adds a line for each thing it could not check.
NOT_CHECKED = "DEVREGS_NOT_CHECKED"


@dataclass(frozen=True)
class Step:
    """A finished step: where its result is, and the key of everything that went into it."""

    folder: Path
    key: str


def cache_root() -> Path:
    own = os.environ.get("DEVREGS_LAB_CACHE")
    if own:
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "devregs-lab"


class Cache:
    """One subfolder for each step, made anew only when what goes into it has changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        # Two labs in one folder would take the ground from under each other. Held until the end.
        self._lock = (root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another lab is at work in {root}") from None

    def step(self, name: str, inputs: object, make: Callable[[Path], None]) -> Step:
        """The folder `name`, filled by `make` unless that was done before with the same inputs."""
        recipe = inspect.getsource(make)
        key = hashlib.sha256(json.dumps([name, inputs, recipe]).encode()).hexdigest()
        folder, stamp = self.root / name, self.root / f"{name}.stamp"
        if stamp.exists() and stamp.read_text() == key and folder.is_dir():
            return Step(folder, key)
        say(f"making {name}")
        start = time.monotonic()
        # No stamp until all is there: a run that was stopped half-way is made again.
        stamp.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        stamp.write_text(key)
        say(f"made {name} in {time.monotonic() - start:.0f} s")
        return Step(folder, key)


def say(text: str) -> None:
    print(f"lab: {text}", flush=True)


def not_checked(what: str, why: object) -> None:
    """Tell that something is left out of this run, now and, through the file, at the end of all runs."""
    line = f"{what}: {why}"
    say(f"NOT CHECKED: {line}")
    if file := os.environ.get(NOT_CHECKED):
        with Path(file).open("a") as stream:
            stream.write(line.replace("\n", " ") + "\n")


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit: float = LIMIT,
    show: bool = False,
) -> str:
    """Run a command for `limit` seconds at most, and return what it printed.

    If it fails, all it printed is shown (with `show` it is shown as it comes, and none is returned), and LabError raised.
    """
    words = " ".join(str(part) for part in command)
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A group of its own, to be ended with all it started.
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=limit)[0] or ""
    except subprocess.TimeoutExpired as error:
        print(_text(error.output), file=sys.stderr)
        raise LabError(f"no end after {limit:.0f} s of: {words}") from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        print(output, file=sys.stderr)
        raise LabError(f"exit code {process.returncode} from: {words}")
    return output


def _text(output: str | bytes | None) -> str:
    """What a process had printed when its time was up: subprocess keeps it as bytes."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
