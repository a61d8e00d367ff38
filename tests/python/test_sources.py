"""Sources: where the bytes are found, and what each failure says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import devregs
import pytest
from systems import IO, MEMORY, PAGE, UNSET, Pci, Uio, put

REGS = """
[device]
name = "block"
compatible = ["acme,block-1.0"]
[regions.regs]
size = 0x100
{place}
registers.ID = {{ offset = 0x0 }}
registers.DATA = {{ offset = 0x4 }}
"""


@pytest.fixture
def block(tmp_path: Path):
    def write(place: str = "", more: str = "") -> Path:
        path = tmp_path / "block.toml"
        path.write_text(REGS.format(place=place) + more)
        return path

    return write


@pytest.fixture
def uio(tmp_path: Path) -> Uio:
    return Uio(tmp_path / "root")


def test_uio_by_name_and_number(uio, block):
    node = uio.add(3, "labgpio", [{"addr": 0x4000_0000, "size": PAGE}])
    for source in ("uio:labgpio", "uio:3"):
        with devregs.open(block(), source, root=uio.root) as device:
            assert device.source == source
            assert device.regions.regs.address == 0x4000_0000
            assert device.DATA.address == 0x4000_0004
            device.DATA.write(0x1234_5678)
    assert node.read_bytes()[4:8] == bytes.fromhex("78563412")


def test_map_n_is_at_n_pages_plus_its_offset(uio, block):
    node = uio.add(
        0,
        "two",
        [
            {"addr": 0x1000_0000, "size": PAGE},
            {"addr": 0x2000_0000, "offset": 0x200, "size": PAGE, "name": "second"},
        ],
    )
    for place in ("uio-map = 1", 'uio-map = "second"'):
        with devregs.open(block(place), "uio:two", root=uio.root) as device:
            device.DATA.write(0xAABB_CCDD)
            assert device.DATA.address == 0x2000_0204
    content = node.read_bytes()
    assert content[PAGE + 0x204 : PAGE + 0x208] == bytes.fromhex("ddccbbaa")
    assert content.count(0) == len(content) - 4


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "uio-map = 7",
            r"UIO map 7, which uio0 has not; it has the maps 0 \(first, 0x1000 bytes at 0x10000000\)",
        ),
        ('uio-map = "x"', 'UIO map "x", which uio0 has not'),
        ("offset = 0x10000", "map 0 .* has only"),
    ],
)
def test_a_uio_map_that_is_not_there_or_too_small(uio, block, place, message):
    uio.add(0, "one", [{"addr": 0x1000_0000, "size": 0x1000, "name": "first"}])
    with pytest.raises(devregs.SourceError, match=message):
        devregs.open(block(place), "uio:one", root=uio.root)


def test_uio_errors_name_what_is_there(uio, block):
    with pytest.raises(devregs.SourceError, match=r"no UIO device at all.*uio_pdrv_genirq"):
        devregs.open(block(), "uio:gpio", root=uio.root)
    uio.add(0, "gpio", [{"addr": 0, "size": PAGE}])
    uio.add(1, "gpio", [{"addr": 0, "size": PAGE}])
    uio.add(10, "rtc", [])
    with pytest.raises(
        devregs.SourceError,
        match=r"no such UIO device; there are uio:0 \(uio0\), uio:1 \(uio1\), uio:rtc \(uio10\)$",
    ):
        devregs.open(block(), "uio:gpoi", root=uio.root)
    with pytest.raises(devregs.SourceError, match=r"several.*uio:0 .*uio:1 "):
        devregs.open(block(), "uio:gpio", root=uio.root)
    with pytest.raises(devregs.SourceError, match="it has no maps"):
        devregs.open(block(), "uio:rtc", root=uio.root)


def test_a_uio_device_without_its_node(uio, block):
    uio.add(0, "gpio", [{"addr": 0, "size": PAGE}]).unlink()
    with pytest.raises(devregs.SourceError, match="sysfs knows uio0, but there is no") as raised:
        devregs.open(block(), "uio:gpio", root=uio.root)
    assert raised.value.errno == 2


def test_permission_errors_give_the_udev_rule(uio, block):
    """As somebody who is not root: a subprocess, since root may everything."""
    node = uio.add(0, "gpio", [{"addr": 0, "size": PAGE}])
    node.chmod(0)
    script = (
        "import sys, os, devregs\n"
        "map, root = devregs.load(sys.argv[1]), sys.argv[2]\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: devregs.open(map, 'uio:gpio', root=root)\n"
        "except devregs.SourceError as error: print(error.errno, error)\n"
    )
    for folder in [uio.root, *uio.root.parents]:
        if folder != Path("/") and folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", script, block(), uio.root],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("13 ")
    assert "no permission for" in done.stdout
    assert 'SUBSYSTEM=="uio", ATTR{name}=="gpio"' in done.stdout


@pytest.fixture
def pci(tmp_path: Path) -> Pci:
    return Pci(tmp_path / "root")


def test_pci_by_address_and_ids(pci, block):
    folder = pci.add(
        "0000:01:00.0",
        (0x10EE, 0x7021),
        [(0xFE00_0000, PAGE, 0x200), (0, 0, 0), (0xFD00_0000, PAGE, 0x200)],
    )
    pci.add("0000:02:00.0", (0x8086, 1), [])
    for source in ("pci:0000:01:00.0", "pci:01:00.0", "pci:10ee:7021"):
        with devregs.open(block(), source, root=pci.root) as device:
            device.DATA.write(7)
            assert device.DATA.address == 0xFE00_0004
    assert (folder / "resource0").read_bytes()[4] == 7
    with devregs.open(block("pci-bar = 2"), "pci:10ee:7021", root=pci.root) as device:
        device.DATA.write(9)
        assert device.DATA.address == 0xFD00_0004
    assert (folder / "resource2").read_bytes()[4] == 9


def test_a_bar_smaller_than_a_page_may_begin_inside_one(pci, block):
    folder = pci.add("0000:01:00.0", (1, 2), [(0xFE00_0100, 0x100, 0x200)])
    # A file of sysfs is as long as its BAR and maps as the page it lies in; what a plain file has there must be in it.
    for size in (0x100, PAGE):
        (folder / "resource0").write_bytes(bytes(size))
        with devregs.open(block(), "pci:0001:0002", root=pci.root) as device:
            assert device.DATA.address == 0xFE00_0104
            device.DATA.write(7)
            assert device.DATA.read() == 7
    assert (folder / "resource0").read_bytes()[0x104] == 7


@pytest.mark.parametrize(
    ("place", "source", "message"),
    [
        (
            "pci-bar = 1",
            "pci:10ee:7021",
            "BAR 1, which the function has not; it has BAR 0, 3, 4, 5",
        ),
        (
            "pci-bar = 3",
            "pci:10ee:7021",
            "BAR 3 is 0x100 I/O ports at 0x1000, which cannot be mapped",
        ),
        ("offset = 0x100000", "pci:10ee:7021", "BAR 0 has only"),
        ("", "pci:ffff:ffff", r"no such PCI function; there are pci:0000:01:00.0 \(10ee:7021\)"),
        ("", "pci:0000:09:00.0", "no such PCI function"),
        ("", "pci:1234:11e8", "several.*0000:03:00.0.*0000:04:00.0"),
        (
            "",
            "pci:0000:05:00.0",
            r"COMMAND register.*; bind it to a driver, or: echo 1 > .*/enable$",
        ),
        ("", "pci:0000:06:00.0", r"COMMAND register.*; setpci -s 0000:06:00.0 COMMAND=2:2"),
        ("pci-bar = 4", "pci:10ee:7021", "BAR 4 has no address"),
        ("pci-bar = 5", "pci:10ee:7021", "BAR 5 has no address"),
    ],
)
def test_pci_errors(pci, block, place, source, message):
    pci.add(
        "0000:01:00.0",
        (0x10EE, 0x7021),
        [
            (0xFE00_0000, PAGE, MEMORY),
            (0, 0, 0),
            (0, 0, 0),
            (0x1000, 0x100, IO),
            (0, 0x1000, MEMORY | UNSET),
            (0, 0x1000, MEMORY),
        ],
    )
    pci.add("0000:03:00.0", (0x1234, 0x11E8), [])
    pci.add("0000:04:00.0", (0x1234, 0x11E8), [])
    pci.add("0000:05:00.0", (5, 5), [(0xFE00_0000, PAGE, MEMORY)], enable=0, command=0x101)
    pci.add("0000:06:00.0", (6, 6), [(0xFE00_0000, PAGE, MEMORY)], enable=1, command=0x101)
    with pytest.raises(devregs.SourceError, match=message):
        devregs.open(block(place), source, root=pci.root)


def test_scan_finds_devices_and_the_maps_that_fit(uio, pci):
    uio.add(
        0,
        "labgpio",
        [{"addr": 0x1000, "size": PAGE, "name": "regs"}],
        {"of_node/compatible": "arm,pl061\0arm,primecell\0"},
    )
    pci.add("0000:01:00.0", (0x1234, 0x11E8), [(0xFE00_0000, 0x10_0000, 0x200)])
    found = devregs.scan(uio.root)
    assert [device["source"] for device in found] == ["uio:labgpio", "pci:0000:01:00.0"]
    gpio, card = found
    assert gpio["name"] == "labgpio"
    assert gpio["maps"] == [{"index": 0, "name": "regs", "address": 0x1000, "size": PAGE}]
    assert gpio["fits"] == ["pl061"]
    assert card["compatible"] == ["pci:1234:11e8"]
    assert card["fits"] == ["edu"]
    assert devregs.scan(uio.root / "nothing") == []


def test_mem_maps_physical_addresses_that_begin_inside_a_page(tmp_path, block):
    memory = tmp_path / "root/dev/mem"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(bytes(4 * PAGE))
    with devregs.open(block(), f"mem:{PAGE + 0x340:#x}", root=tmp_path / "root") as device:
        device.DATA.write(0x55)
        assert device.DATA.address == PAGE + 0x344
        assert device.source == f"mem:{PAGE + 0x340:#x}"
    assert memory.read_bytes()[PAGE + 0x344] == 0x55


def test_mem_without_dev_mem(tmp_path, block):
    with pytest.raises(devregs.SourceError, match=r"no .*/dev/mem.*CONFIG_DEVMEM"):
        devregs.open(block(), "mem:0x1000", root=tmp_path)


def test_mem_beyond_the_address_space(tmp_path, block):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/mem").write_bytes(b"")
    with pytest.raises(devregs.SourceError, match="64-bit"):
        devregs.open(block(), "mem:0xffff_ffff_ffff_ff80", root=tmp_path)
    with pytest.raises(devregs.SourceError):
        devregs.open(block(), "mem:0xffff_ffff_ffff_f000", root=tmp_path)


def test_files(tmp_path, block):
    path = tmp_path / "memory"
    with pytest.raises(devregs.SourceError, match="no file"):
        devregs.open(block(), f"file:{path}")
    with pytest.raises(devregs.SourceError, match="directory"):
        devregs.open(block(), f"file:{tmp_path}")
    path.write_bytes(bytes(0x80))
    with pytest.raises(devregs.SourceError, match=r"ends at byte 0x100.*only 0x80 bytes"):
        devregs.open(block(), f"file:{path}")
    path.write_bytes(bytes(0x100))
    with devregs.open(block(), path) as device:  # a path object is a file
        device.ID.write(1)
    assert path.read_bytes()[0] == 1
    with pytest.raises(devregs.SourceError, match=r"cannot be mapped|no whole|failed"):
        devregs.open(block(), "file:/dev/null")


def test_a_read_only_region_needs_no_write_permission(tmp_path, block):
    path = tmp_path / "memory"
    path.write_bytes(bytes(0x100))
    before = set(Path("/proc/self/fd").iterdir())
    with devregs.open(block('access = "ro"'), f"file:{path}") as device:
        assert device.ID.read() == 0
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    "source",
    [
        "",
        "uio",
        "uio:",
        "mem:",
        "mem:xyz",
        "mem:-1",
        "mem:+1",
        "mem:0x1_0000_0000_0000_0000",
        "mem:0x+1",
        "mem:0x1000+16",
        "mem:_1",
        "pci:",
        "pci:zz:zz",
        "pci:1:2",
        "pci:00:20.0",
        "pci:00:00.8",
        "pci:0000:00:00:00.0",
        "file:",
        "file:a+b",
        "file:100%",
        "file:%x0",
        "uio:a+0x10",
        "uio:%",
        "pci:100000000:00:00.0",
        "mock:x",
        "tcp:host",
        "\x1b[31m:x",
        "é:",
    ],
)
def test_names_that_are_no_source(block, source):
    with pytest.raises(devregs.SourceError, match="a source is mem:0xADDRESS") as raised:
        devregs.open(block(), source)
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("source", [5, None, b"\xff"])
def test_sources_of_another_type(block, source):
    with pytest.raises((TypeError, devregs.SourceError)):
        devregs.open(block(), source)


def test_what_is_expected_is_checked_at_open(tmp_path, kit_map, memory):
    memory.write_bytes(bytes(0xA010))
    with pytest.raises(
        devregs.SourceError, match=r"file:.*this is not a kit.*ID is 0x0, not 0x61 in the bits 0xff"
    ):
        devregs.open(kit_map, f"file:{memory}")
    with devregs.open(kit_map, f"file:{memory}", verify=False) as device:
        assert device.ID.read() == 0


def test_all_that_is_not_as_expected_is_told_at_once(tmp_path):
    path = tmp_path / "block.toml"
    path.write_text(
        '[device]\nname = "block"\n[regions.r]\nsize = 0x40\n[regions.r.registers]\n'
        "ID = { offset = 0, expect = 1 }\nOTHER = { offset = 4, expect = 0 }\n"
        "REVISION = { offset = 8, count = 2, stride = 4, expect = 2 }\n"
    )
    memory = tmp_path / "memory"
    memory.write_bytes(bytes(0x40))
    with pytest.raises(
        devregs.SourceError, match=r": ID is 0x0, not 0x1; REVISION\[0\] is 0x0, not 0x2"
    ):
        devregs.open(path, f"file:{memory}")


def test_nothing_stays_open_after_a_failure(tmp_path, kit_map, memory):
    memory.write_bytes(bytes(0xA010))

    def state():
        with Path("/proc/self/maps").open() as maps:
            return set(Path("/proc/self/fd").iterdir()), [
                line for line in maps if str(memory) in line
            ]

    before = state()
    for _ in range(3):
        with pytest.raises(devregs.SourceError):
            devregs.open(kit_map, f"file:{memory}")
    assert state() == before


def test_files_are_closed_on_exec_and_released_by_close(kit_map, memory):
    content = bytearray(0xA010)
    content[0x1000] = 0x61
    memory.write_bytes(content)
    device = devregs.open(kit_map, f"file:{memory}")
    register = device.CTRL
    device.close()
    with Path("/proc/self/maps").open() as maps:
        assert not any(str(memory) in line for line in maps)
    del register


def test_opening_writes_nothing(kit_map, memory):
    content = bytearray(os.urandom(0xA010))
    content[0x1000] = 0x61
    memory.write_bytes(content)
    with devregs.open(kit_map, f"file:{memory}") as device:
        repr(device)
        dir(device)
    assert memory.read_bytes() == content


def test_ram_is_refused_unless_asked_for_by_name(tmp_path, block):
    root = tmp_path / "root"
    put(
        root / "proc/iomem",
        "00000000-00000fff : Reserved\n00001000-00002fff : System RAM\n  00001000-00001fff : Kernel code\n",
    )
    (root / "dev").mkdir()
    (root / "dev/mem").write_bytes(bytes(4 * PAGE))
    for address in (0x1000, 0x2FFC, 0xFFC):
        with pytest.raises(devregs.SourceError, match=rf"is RAM.*ram:{address:#x}"):
            devregs.open(block(), f"mem:{address:#x}", root=root)
    devregs.open(block(), "mem:0x0", root=root).close()
    with devregs.open(block(), "ram:0x1000", root=root) as device:
        assert device.source == "ram:0x1000"
        device.DATA.write(3)
