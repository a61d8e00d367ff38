"""The lab's folder outside the source tree, and the steps that fill it."""

import fcntl
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class LabError(Exception):
    """The lab cannot go on. Its text is for the person who ran it."""


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


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return what it printed; its whole output is in the error if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else {**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        words = " ".join(str(part) for part in command)
        raise LabError(f"exit code {done.returncode} from: {words}")
    return done.stdout


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
