"""Files that are no maps, includes that lead elsewhere, boards of nonsense, and sources that change under us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import devregs
import pytest
from test_hostile import HEAD, assert_clean, command, refused

GOOD = HEAD + "size = 0x1000\nregisters.A = { offset = 0, fields.F = 0 }\n"
SECRET = "root:x:0:0"


# What is no file, and what is no text


def test_files_that_are_no_maps(tmp_path: Path) -> None:
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "directory" in refused(lambda: devregs.load(folder))
    assert "no such file" in refused(lambda: devregs.load(tmp_path / "missing.toml"))
    path = tmp_path / "x.toml"
    for content in (
        b"\xff\xfe[\0d\0",
        b"[device]\nname = '\xe9'\n",
        b"\0" * 100,
        b"\x7fELF\x02\x01\x01",
        b"",
        b"\n",
    ):
        path.write_bytes(content)
        refused(lambda: devregs.load(path))
        refused(lambda: devregs.load_board(path))
    path.write_text(GOOD + "# \0\n", encoding="utf-8")
    refused(lambda: devregs.load(path))


def test_files_without_end_are_not_read_to_the_end(tmp_path: Path) -> None:
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    assert "too long" in refused(lambda: devregs.load(endless))
    assert "too long" in refused(lambda: devregs.load_board(endless))
    sparse = tmp_path / "sparse.toml"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    assert "too long" in refused(lambda: devregs.load(sparse))
    assert "too long" in refused(lambda: devregs.load_board(sparse))


@pytest.mark.parametrize(
    "name", ["x\0.toml", "./x\0", "\ud800.toml", "./" + "x" * 5000 + ".toml", ""]
)
def test_names_of_files_that_no_file_has(name: str) -> None:
    refused(lambda: devregs.load(name), devregs.MapError, ValueError)
    refused(lambda: devregs.load_board(name), devregs.MapError, ValueError)
    refused(lambda: devregs.open("pl061", f"file:{name}"), devregs.SourceError, ValueError)


def test_names_of_files_are_printed_clean(tmp_path: Path) -> None:
    for name in ("\x1b[31m.toml", "a\nb.toml", "\u202e.toml"):
        path = tmp_path / name
        refused(lambda path=path: devregs.load(path))
        refused(lambda path=path: devregs.open("pl061", f"file:{path}"), devregs.SourceError)
        path.write_text("x", encoding="utf-8")
        refused(lambda path=path: devregs.load(path))
        refused(lambda path=path: devregs.open("pl061", f"file:{path}"), devregs.SourceError)
        refused(lambda path=path: devregs.open(path, "mock:"))
        done = command("check", path)
        assert_clean(done.stdout + done.stderr)
        path.unlink()
        path.mkdir()
        refused(lambda path=path: devregs.open("pl061", f"file:{path}"), devregs.SourceError)


# A map reaches no file outside of its folder


@pytest.mark.parametrize(
    "way",
    [
        "..",
        "deep",
        "absolute",
        "link",
        "linked folder",
        "dots",
        "proc",
        "empty",
        "folder",
        "device",
    ],
)
def test_an_include_does_not_leave_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    outside = tmp_path / "outside"
    inside = tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret.toml").write_text(SECRET, encoding="utf-8")
    (inside / "sub").mkdir()
    (inside / "link.toml").symlink_to(outside / "secret.toml")
    (inside / "linked").symlink_to(outside)
    (inside / "zero.toml").symlink_to("/dev/zero")
    name = {
        "..": "../outside/secret.toml",
        "deep": "sub/../../outside/secret.toml",
        "absolute": str(outside / "secret.toml"),
        "link": "link.toml",
        "linked folder": "linked/secret.toml",
        "dots": "./.././outside/secret.toml",
        "proc": "/proc/self/root/etc/passwd",
        "empty": "",
        "folder": "sub",
        "device": "zero.toml",
    }[way]
    path = inside / "x.toml"
    path.write_text(f'include = ["{name}"]\n{GOOD}', encoding="utf-8")
    told = refused(lambda: devregs.load(path))
    assert SECRET not in told
    monkeypatch.chdir(inside)
    assert SECRET not in refused(lambda: devregs.load("./x.toml"))
    done = command("check", path)
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(
        "[regions.more]\noffset = 0x1000\nsize = 4\n", encoding="utf-8"
    )
    (tmp_path / "link.toml").symlink_to("real.toml")
    path = tmp_path / "x.toml"
    path.write_text(f'include = ["link.toml"]\n{GOOD}', encoding="utf-8")
    with devregs.mock(path) as dev:
        assert dev.regions.more.size == 4


def test_includes_that_go_round_end(tmp_path: Path) -> None:
    for count in (1, 2, 5):
        for number in range(count):
            following = f"x{(number + 1) % count}.toml"
            (tmp_path / f"x{number}.toml").write_text(
                f'include = ["{following}"]\n', encoding="utf-8"
            )
        assert "includes itself" in refused(lambda: devregs.load(tmp_path / "x0.toml"))
    # The same file by another name, and files that double at each step.
    (tmp_path / "again.toml").symlink_to("x.toml")
    (tmp_path / "x.toml").write_text('include = ["again.toml"]\n', encoding="utf-8")
    refused(lambda: devregs.load(tmp_path / "x.toml"))
    for number in range(40):
        twice = f'"y{number + 1}.toml"'
        (tmp_path / f"y{number}.toml").write_text(
            f"include = [{twice}, {twice}]\n", encoding="utf-8"
        )
    (tmp_path / "y40.toml").write_text(GOOD, encoding="utf-8")
    refused(lambda: devregs.load(tmp_path / "y0.toml"))


def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    path = tmp_path / "x.toml"
    path.write_text(f'include = ["pipe.toml"]\n{GOOD}', encoding="utf-8")
    # In a process of its own: what waits for a pipe cannot be called back.
    done = command("check", path)
    assert done.returncode == 1
    assert "pipe" in done.stdout


# Boards


def test_a_board_of_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    for text in (
        "",
        GOOD,
        "devices = 1",
        "[devices]",
        "[devices.a]",
        "[devices.a]\nmap = 1\nsource = 2",
        "[devices.a]\nmap = 'pl061'\nsource = 'usb:1'",
        "[devices.a]\nmap = 'pl061'\nsource = 'mem:0x1_0000_0000_0000_0000'",
        "[devices.a]\nmap = '/'\nsource = 'mock:'",
        "[devices.a]\nmap = './board.toml'\nsource = 'mock:'",
        "[devices.a]\nmap = '\\u0000.toml'\nsource = 'mock:'".replace("'", '"'),
        "[devices.'\x1b[31m']\nmap = 'pl061'\nsource = 'mock:'",
        '[devices."\\u001b[31m"]\nmap = "pl061"\nsource = "mock:"',
        '[devices.a]\nmap = "\\u001b[31m"\nsource = "\\u202e"',
        "include = ['../x.toml']\n[devices.a]\nmap = 'pl061'\nsource = 'mock:'",
        "[devices.a]\nmap = 'pl061'\nsource = 'mock:'\nverify = true",
    ):
        path.write_text(text, encoding="utf-8")
        refused(lambda: devregs.open_board(path))
        assert command("check", path).returncode == 1 or text == GOOD


def test_a_board_opens_all_its_devices_or_none(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    good = "".join(f"[devices.d{n}]\nmap = 'pl061'\nsource = 'mock:'\n" for n in range(20))
    path.write_text(
        f"{good}[devices.last]\nmap = 'pl061'\nsource = 'file:/no/such/file'\n", encoding="utf-8"
    )
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert "device last" in refused(lambda: devregs.open_board(path), devregs.SourceError)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Sources


def test_a_source_that_shrinks_is_a_bus_error(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        GOOD.replace("0x1000", "0x20000") + "registers.LAST = { offset = 0x1fffc, fields.F = 0 }\n"
    )
    memory = tmp_path / "memory.bin"
    memory.write_bytes(bytes(0x20000))
    with devregs.open(path, f"file:{memory}") as dev:
        os.truncate(memory, 0x10000)
        for action in (
            dev.LAST.read,
            lambda: dev.LAST.F,
            lambda: dev.LAST.write(1),
            lambda: dev.LAST.modify(F=1),
            lambda: dev.LAST.wait(F=1, timeout=1),
            lambda: dev.regions.r.read(0x1FFFC),
            lambda: dev.regions.r.read_into(bytearray(0x20000)),
            lambda: dev.regions.r.write_from(bytes(0x20000)),
        ):
            refused(action, devregs.BusError)
        assert dev.A.read() == 0
        os.truncate(memory, 0x20000)
        assert dev.LAST.read() == 0
    os.truncate(memory, 0x100)
    refused(lambda: devregs.open(path, f"file:{memory}"), devregs.SourceError)


@pytest.mark.parametrize(
    "target", ["/", "/dev/null", "/dev/tty", "/proc/self/mem", "/proc/self/maps", "missing/file"]
)
def test_sources_that_are_no_memory(tmp_path: Path, target: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD, encoding="utf-8")
    refused(lambda: devregs.open(path, f"file:{target}"), devregs.SourceError)


@pytest.mark.parametrize("size", ["0x1000_0000_0000_0000", "'0xffff_ffff_ffff_fffc'"])
def test_the_zero_device_is_mapped_no_further_than_the_machine_can(
    tmp_path: Path, size: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"{HEAD}size = {size}\n", encoding="utf-8")
    refused(lambda: devregs.open(path, "file:/dev/zero"), devregs.SourceError)


def test_what_is_open_is_not_inherited(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD, encoding="utf-8")
    memory = tmp_path / "memory.bin"
    memory.write_bytes(bytes(0x1000))
    script = (
        "from pathlib import Path\n"
        "for fd in Path('/proc/self/fd').iterdir(): print(fd.readlink() if fd.exists() else '')"
    )
    with devregs.open(path, f"file:{memory}", shared=True), devregs.mock(path):
        ours = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.exists()]
        assert str(memory) in ours
        child = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            close_fds=False,
        )
    assert str(memory) not in child.stdout
    assert "devregs-mock" not in child.stdout


def test_opening_writes_nothing(tmp_path: Path) -> None:
    memory = tmp_path / "memory.bin"
    for name in devregs.builtin_maps():
        content = os.urandom(1 << 16)
        memory.write_bytes(content)
        changed = memory.stat().st_mtime_ns
        try:
            devregs.open(name, f"file:{memory}", verify=False).close()
            devregs.open(name, f"file:{memory}").close()
        except devregs.SourceError:
            pass
        assert memory.read_bytes() == content
        assert memory.stat().st_mtime_ns == changed
