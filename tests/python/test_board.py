"""Boards: several devices opened and closed together."""

from __future__ import annotations

from pathlib import Path

import devregs
import pytest


@pytest.fixture
def board_file(tmp_path: Path, kit_path: Path, memory: Path) -> Path:
    path = tmp_path / "board.toml"
    path.write_text(
        f'[devices.first]\nmap = "{kit_path}"\nsource = "mock:"\n'
        f'[devices.second-one]\nmap = "{kit_path}"\nsource = "file:{memory}"\ndoc = "On a file"\n'
    )
    return path


def test_devices_by_attribute_and_name(board_file):
    with devregs.open_board(board_file) as board:
        assert board.first is board["first"]
        assert board["second-one"].source.startswith("file:")
        assert [device.name for device in board.values()] == ["kit", "kit"]
        assert list(dict(board)) == ["first", "second-one"]
        assert len(board) == 2
        assert "first" in board
        assert "first" in dir(board)
        assert "first" in repr(board)
        board.first.CTRL.write(5)
        assert board["second-one"].CTRL.read() == 0
    assert board.closed
    assert board.first.closed
    board.close()


def test_unknown_devices(board_file):
    with devregs.open_board(board_file) as board:
        with pytest.raises(AttributeError, match="no device 'frist'; did you mean 'first'"):
            _ = board.frist
        with pytest.raises(KeyError, match="there is first, second-one"):
            board["x"]
        with pytest.raises(AttributeError):
            board.first = None


def test_a_device_that_does_not_open_closes_the_others_and_is_named(
    board_file, memory, monkeypatch
):
    opened = []
    real = devregs.open

    def open(*args, **options):
        opened.append(real(*args, **options))
        return opened[-1]

    monkeypatch.setattr("devregs._board.open_device", open)
    memory.unlink()
    with pytest.raises(devregs.SourceError, match=r"device second-one: file:.* no ") as raised:
        devregs.open_board(board_file)
    assert raised.value.errno == 2
    assert [device.closed for device in opened] == [True]


def test_a_device_that_is_another_one_is_named(board_file, memory):
    memory.write_bytes(bytes(0xA010))
    with pytest.raises(devregs.SourceError, match=r"device second-one: file:.*ID is 0x0"):
        devregs.open_board(board_file)
    devregs.open_board(board_file, verify=False).close()


def test_a_live_view_keeps_its_device_open_but_not_the_others(board_file):
    board = devregs.open_board(board_file)
    view = board.first.regions.ram.view()
    with pytest.raises(BufferError):
        board.close()
    assert not board.first.closed
    assert board["second-one"].closed
    view.release()
    board.close()
    assert board.closed


def test_a_wrong_board_map(tmp_path):
    path = tmp_path / "board.toml"
    path.write_text('[devices.a]\nmap = "nothing-like-this"\nsource = "mock:"\n')
    with pytest.raises(devregs.MapError, match="nothing-like-this"):
        devregs.open_board(path)


def test_a_mock(kit_path):
    with devregs.mock(kit_path) as kit:
        assert kit.source == "mock:"
        assert kit.CTRL.read() == 0x8001_0031


def test_a_board_of_mocks(tmp_path, kit_path):
    path = tmp_path / "board.toml"
    path.write_text(
        f'[devices.one]\nmap = "{kit_path}"\nsource = "uio:nowhere"\n'
        '[devices.two]\nmap = "pl031"\nsource = "mem:0x0901_0000"\n'
    )
    with devregs.mock_board(path, clock="virtual") as board:
        assert [device.source for device in board.values()] == ["mock:", "mock:"]
        board.one.CTRL.write(5)
        before = board.two.hw.time
        board.two.hw.advance(3600)
        assert board.two.hw.time - before >= 3600
        assert board.one.hw.time < 1
    assert board.closed
    with pytest.raises(TypeError, match="clock"):
        devregs.mock_board(path, clock="wall")
    path.write_text('[devices.one]\nmap = "none"\nsource = "mock:"\n')
    with pytest.raises(devregs.MapError):
        devregs.mock_board(path)
