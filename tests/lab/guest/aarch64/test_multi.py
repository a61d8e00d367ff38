"""One UIO device of several maps: by name and index, within a page, big-endian, a stream."""

from collections.abc import Callable, Iterator
from pathlib import Path

import devregs
import pytest

Answered = Callable[[str, str], None]


@pytest.fixture
def multi(maps: Path) -> Iterator[devregs.Device]:
    with devregs.open(maps / "labmulti.toml", "uio:labmulti") as device:
        yield device


def test_maps_that_begin_within_a_page(multi: devregs.Device, answered: Answered) -> None:
    assert multi.MAGIC.read() == multi.MAGIC2.read() == int.from_bytes(b"virt", "little")
    assert multi.VENDOR.read() == multi.VENDOR2.read() == int.from_bytes(b"QEMU", "little")
    assert multi.MAGIC.address == 0x0A00_0200
    assert multi.MAGIC2.address == 0x0A00_0400
    answered(
        "labmulti", f"two maps in one page: {multi.MAGIC.read().to_bytes(4, 'little').decode()!r}"
    )


def test_maps_of_one_page_have_each_their_protection(multi: devregs.Device) -> None:
    assert not multi.regions.first.view().readonly
    assert multi.regions.second.view().readonly
    protections = [
        line.split()[1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "/dev/uio" in line
    ]
    assert "rw-s" in protections
    assert "r--s" in protections


def test_big_endian_registers(multi: devregs.Device, answered: Answered) -> None:
    assert multi.HIGH.read().to_bytes(4, "big") == b"QEMU"
    assert multi.LOW.read().to_bytes(4, "big") == b" CFG"
    assert multi.WHOLE.read().to_bytes(8, "big") == b"QEMU CFG"
    answered("labmulti", f"big-endian signature {multi.WHOLE.read().to_bytes(8, 'big').decode()!r}")


def test_big_endian_block(multi: devregs.Device) -> None:
    words = bytearray(8)
    assert multi.regions.signature.read_into(words) == 2
    assert memoryview(words).cast("I").tolist() == [multi.HIGH.read(), multi.LOW.read()]


def test_no_view_of_foreign_byte_order(multi: devregs.Device) -> None:
    with pytest.raises(devregs.AccessError, match="byte order"):
        multi.regions.signature.view()


def test_stream_gives_each_byte_once(multi: devregs.Device) -> None:
    # A read that happened twice, or of another width, would lose letters.
    multi.KEY.write(0)
    assert bytes(multi.regions.data.read(0) for _ in range(4)) == b"QEMU"
    multi.KEY.write(0)
    signature = bytearray(4)
    assert multi.regions.data.read_into(signature) == 4
    assert signature == b"QEMU"


def test_stream_in_wider_words(multi: devregs.Device) -> None:
    multi.KEY.write(0)
    assert multi.regions.data.read(0, width=16).to_bytes(2, "little") == b"QE"
    assert multi.regions.data.read(0, width=16).to_bytes(2, "little") == b"MU"


def test_no_view_of_a_stream(multi: devregs.Device) -> None:
    with pytest.raises(devregs.AccessError, match="side effect"):
        multi.regions.data.view()


def test_device_without_interrupt_says_so(multi: devregs.Device) -> None:
    with pytest.raises(devregs.SourceError, match="interrupt"):
        multi.irq.wait(timeout=0.1)


def test_unknown_map_name_lists_the_names(maps: Path) -> None:
    text = (maps / "labmulti.toml").read_text().replace('"hole"', '"none"')
    (wrong := Path("/tmp/wrong.toml")).write_text(text)
    with pytest.raises(devregs.SourceError) as error:
        devregs.open(wrong, "uio:labmulti")
    for name in ("fwcfg", "virtio1", "virtio2", "hole"):
        assert name in str(error.value)


def test_unaligned_accesses_are_refused(multi: devregs.Device) -> None:
    for offset in (1, 2, 3):
        with pytest.raises(devregs.MapError, match="multiple of 4"):
            multi.regions.first.read(offset)


def test_expected_values_are_checked(maps: Path) -> None:
    text = (maps / "labmulti.toml").read_text().replace("0x7472_6976", "0x7472_6977")
    (wrong := Path("/tmp/unexpected.toml")).write_text(text)
    with pytest.raises(devregs.DevregsError, match="0x74726976"):
        devregs.open(wrong, "uio:labmulti")
    devregs.open(wrong, "uio:labmulti", verify=False).close()


def test_first_map_alone_is_fw_cfg() -> None:
    # The library's own map of it, over the first of the maps.
    with devregs.open("fw-cfg", "uio:labmulti") as fw_cfg:
        assert fw_cfg.DMA_SIGNATURE.read().to_bytes(8, "big") == b"QEMU CFG"
        fw_cfg.SELECTOR.write(fw_cfg.SELECTOR.encode(KEY="SIGNATURE"))
        assert bytes(fw_cfg.DATA.read() for _ in range(4)) == b"QEMU"
        fw_cfg.SELECTOR.KEY = "NB_CPUS"
        assert fw_cfg.DATA.read() == 2


def test_scan_knows_which_maps_fit() -> None:
    fits = {entry["name"]: entry["fits"] for entry in devregs.scan()}
    assert fits["labrtc"] == ["pl031"]
    assert fits["labgpio"] == ["pl061"]
    assert fits["labmulti"] == []
