//! The Rust API by itself: devices opened on a mock and on a file, without Python.

use std::error::Error as _;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use devregs::access::GUARDED;
use devregs::device::{Device, Options};
use devregs::error::{Error, Result};
use devregs::map::{Map, Width};
use devregs::source::Source;
use tempfile::TempDir;

const MAP: &str = r#"
[device]
name = "block"

[regions.regs]
size = 0x1000
[regions.regs.registers.CTRL]
offset = 0x0
reset = 0x8000_0031
fields = { EN = 0, MODE = "7:4", COUNT = "31:16" }
[regions.regs.registers.STATUS]
offset = 0x4
fields.READY = { bits = 0, access = "ro" }
fields.ERROR = { bits = 1, on-write = "one-to-clear" }
fields.LEVEL = "15:8"
[regions.regs.registers.COMMAND]
offset = 0x8
access = "wo"
fields = { CODE = "7:0", FLAG = 8 }
[regions.regs.registers.WIDE]
offset = 0x10
width = 64
split = "low-first"
fields = { F0 = "15:0", F1 = "31:16", F2 = "47:32", F3 = "63:48" }
[regions.regs.groups.CH]
offset = 0x100
count = 4
stride = 0x10
registers.BYTE = { offset = 0x3, width = 8 }
registers.HALF = { offset = 0x4, width = 16, byte-order = "big" }

[regions.id]
offset = 0x1000
size = 0x100
access = "ro"
registers.ID = { offset = 0x0, expect = { value = 0x61, mask = 0xff } }

[regions.fifo]
offset = 0x2000
size = 0x10
fifo = true
"#;

/// As long as the map's regions.
const SIZE: u64 = 0x2010;

fn map() -> Arc<Map> {
    Map::parse(MAP, "block.toml").expect("the map is right").map
}

fn mock() -> Device {
    Device::open(map(), &Source::Mock, &Options::default()).expect("a mock opens")
}

/// A file in the place of the device's memory.
struct Memory {
    _folder: TempDir,
    path: PathBuf,
    file: File,
}

impl Memory {
    fn new() -> Memory {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memory");
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file");
        file.set_len(SIZE).expect("a size");
        file.write_all_at(&[0x61], 0x1000).expect("an id");
        Memory { _folder: folder, path, file }
    }

    fn open(&self) -> Device {
        self.open_with(&Options::default()).expect("the file opens")
    }

    fn open_with(&self, options: &Options) -> Result<Device> {
        Device::open(map(), &Source::File(self.path.clone()), options)
    }

    /// The bytes that are there, past the library.
    fn bytes<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, offset).expect("bytes");
        bytes
    }
}

/// The error's kind and text, which no kind leaves empty.
#[track_caller]
fn refused<T>(result: Result<T>) -> String {
    let error = result.err().expect("an error");
    let kind = match &error {
        Error::Map(_) => "map",
        Error::Path(_) => "path",
        Error::Value { .. } => "value",
        Error::Refused { .. } => "refused",
        Error::Bus(_) => "bus",
        Error::Source(_) => "source",
        Error::Timeout { .. } => "timeout",
        Error::Interrupted => "interrupted",
        Error::Exported { .. } => "exported",
        Error::Unexpected(_) => "unexpected",
        Error::Hook(_) => "hook",
    };
    assert!(format!("{error:?}").len() > 3);
    assert!(error.source().is_none(), "the text says it all");
    format!("{kind}: {error}")
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text:?}");
    }
}

#[test]
fn a_register_is_read_written_and_modified() {
    for (device, reset) in [(mock(), 0x8000_0031), (Memory::new().open(), 0)] {
        let ctrl = device.register("CTRL").unwrap();
        assert_eq!(ctrl.read().unwrap(), reset);
        ctrl.write(0xffff_ffff).unwrap();
        let mode = ctrl.field("MODE").unwrap();
        ctrl.modify(mode.mask(), 0x5 << mode.lsb).unwrap();
        assert_eq!(ctrl.read().unwrap(), 0xffff_ff5f);
        ctrl.modify(0xffff_0001, 0x1234_0000).unwrap();
        assert_eq!(ctrl.read().unwrap(), 0x1234_ff5e);
        assert_eq!((ctrl.path(), ctrl.offset(), ctrl.physical()), ("CTRL", 0, None));
        assert_eq!((ctrl.at().as_str(), ctrl.region().info().name.as_str()), ("block.CTRL", "regs"));
        assert!(ctrl.readable() && ctrl.writable());
    }
}

#[test]
fn neighbours_that_act_when_written_are_spared() {
    let memory = Memory::new();
    let device = memory.open();
    let status = device.register("STATUS").unwrap();
    status.write(0x0102).unwrap();
    status.modify(0xff00, 0x0300).unwrap();
    // ERROR read as 1, and is not cleared by writing 1 back.
    assert_eq!(status.read().unwrap(), 0x0300);
    assert_eq!(status.encode(0xff00, 0x0500), 0x0500);
    let command = device.register("COMMAND").unwrap();
    command.modify(0x1ff, 0x1aa).unwrap();
    assert_eq!(memory.bytes(8), [0xaa, 1, 0, 0]);
}

#[test]
fn widths_byte_orders_and_split_words_are_the_maps() {
    let memory = Memory::new();
    let device = memory.open();
    device.register("CH[2].BYTE").unwrap().write(0xab).unwrap();
    device.register("CH[2].HALF").unwrap().write(0x1234).unwrap();
    assert_eq!(memory.bytes(0x120), [0, 0, 0, 0xab, 0x12, 0x34, 0, 0]);
    assert_eq!(device.register("CH[2].HALF").unwrap().read().unwrap(), 0x1234);
    let wide = device.register("WIDE").unwrap();
    wide.write(0x0102_0304_0506_0708).unwrap();
    assert_eq!(memory.bytes(0x10), 0x0102_0304_0506_0708_u64.to_le_bytes());
    assert_eq!(wide.read().unwrap(), 0x0102_0304_0506_0708);
}

#[test]
fn what_does_not_fit_or_is_forbidden_is_an_error_with_its_place() {
    let device = mock();
    let register = |path| device.register(path).unwrap();
    for (text, parts) in [
        (refused(register("CTRL").write(1 << 32)), ["value: block.CTRL: ", "0x100000000", "32 bits"]),
        (
            refused(register("CTRL").modify(1 << 32, 1 << 32)),
            ["value: block.CTRL: ", "0x100000000", "32 bits"],
        ),
        (refused(register("CTRL").modify(0xf0, 0x100)), ["value: block.CTRL: ", "0x100", "0xf0"]),
        (refused(wait(&device, 0xf0, 0x100)), ["value: block.CTRL: ", "0x100", "0xf0"]),
        (refused(register("CH[0].BYTE").write(0x100)), ["value: block.CH[0].BYTE: ", "0x100", "8 bits"]),
        (refused(register("STATUS").modify(1, 1)), ["refused: block.STATUS.READY: ", "read-only", "map"]),
        (refused(register("COMMAND").read()), ["refused: block.COMMAND: ", "write-only", "no meaning"]),
        (refused(register("COMMAND").modify(0xff, 1)), ["refused: block.COMMAND: ", "FLAG", "write"]),
        (refused(register("ID").write(1)), ["refused: block.ID: ", "read-only", "map"]),
        (refused(device.register("CTLR")), ["path: block", "CTLR", "CTRL"]),
        (refused(device.register("CH.BYTE")), ["path: ", "CH", "["]),
        (refused(device.register("CH[4].BYTE")), ["path: ", "CH[4]", "3"]),
        (refused(device.register("CTRL.EN")), ["value: block.CTRL.EN: ", "EN is a field", "not a register"]),
        (refused(register("CTRL").field("NE").map(|_| ())), ["path: block.CTRL", "NE", "EN"]),
    ] {
        assert_has(&text, &parts);
    }
    assert_eq!(register("CTRL").read().unwrap(), 0x8000_0031, "nothing was written");
}

/// Waits on CTRL for no time at all.
fn wait(device: &Device, mask: u64, bits: u64) -> Result<u64> {
    let ctrl = device.register("CTRL").unwrap();
    ctrl.wait(mask, bits, Some(Duration::ZERO), Duration::ZERO, || Ok(()))
}

#[test]
fn a_wait_ends_by_the_value_by_its_time_or_by_who_asked() {
    let device = mock();
    assert_eq!(wait(&device, 0xf1, 0x31).unwrap(), 0x8000_0031);
    assert_has(
        &refused(wait(&device, 0xf1, 0x51)),
        &["timeout: block.CTRL: ", "0x80000031", "EN=0x1, MODE=0x3"],
    );
    let ctrl = device.register("CTRL").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ctrl.wait(0xf0, 0x50, None, Duration::from_micros(50), || Ok(())));
        device.register("CTRL").unwrap().modify(0xf0, 0x50).unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), 0x8000_0051);
    });
    let mut asked = 0;
    for interval in [Duration::ZERO, Duration::from_secs(1000), Duration::MAX] {
        let called_away = || {
            asked += 1;
            if asked % 3 == 0 { Err(Error::Interrupted) } else { Ok(()) }
        };
        let begun = Instant::now();
        assert_has(&refused(ctrl.wait(1, 0, None, interval, called_away)), &["interrupted"]);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(asked, 9);
}

#[test]
fn regions_move_words_and_blocks_of_them() {
    let memory = Memory::new();
    let device = memory.open();
    let [regs, id, fifo] = device.regions() else { panic!("there are three regions") };
    regs.write(0x200, 0xdead_beef, None).unwrap();
    assert_eq!(regs.read(0x200, None).unwrap(), 0xdead_beef);
    assert_eq!(regs.read(0x202, Some(Width::W16)).unwrap(), 0xdead);
    regs.write(0x203, 0x11, Some(Width::W8)).unwrap();
    assert_eq!(memory.bytes(0x200), [0xef, 0xbe, 0xad, 0x11]);

    let block: Vec<u8> = (0..=255).collect();
    assert_eq!(regs.write_from(&block, 0x400, None, None).unwrap(), 64);
    assert_eq!(memory.bytes::<256>(0x400)[..], block);
    let mut back = [0; 256];
    assert_eq!(regs.read_into(&mut back, 0x400, Some(Width::W8), None).unwrap(), 256);
    assert_eq!(back[..], block);
    assert_eq!(regs.read_into(&mut back[..12], 0x404, None, Some(true)).unwrap(), 3);
    assert_eq!(back[..12], [4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7]);

    // A region that is a FIFO is written at one address.
    assert_eq!(fifo.write_from(&block[..12], 4, None, None).unwrap(), 3);
    assert_eq!(memory.bytes(0x2000), [0, 0, 0, 0, 8, 9, 10, 11, 0, 0, 0, 0]);
    assert_eq!(id.read(0, None).unwrap() & 0xff, 0x61);

    for text in [
        refused(regs.read(0x1000, None)),
        refused(regs.read(u64::MAX - 3, None)),
        refused(regs.read(2, None)),
        refused(regs.write(0, 1 << 32, None)),
        refused(regs.read_into(&mut back, 0xff0, None, None)),
        refused(regs.read_into(&mut back[..6], 0, None, None)),
        refused(regs.write_from(&block, 0xf01, Some(Width::W16), None)),
    ] {
        assert_has(&text, &["value: block.regions.regs+0x"]);
    }
    assert_has(&refused(id.write(0, 0, None)), &["refused: block.regions.id: ", "read-only"]);
    assert_has(&refused(id.write_from(&block, 0, None, None)), &["refused: block.regions.id: ", "read-only"]);
}

#[test]
fn a_fault_is_an_error_that_says_where_and_the_process_goes_on() {
    if !GUARDED {
        return;
    }
    let memory = Memory::new();
    let device = memory.open();
    let ctrl = device.register("CTRL").unwrap();
    memory.file.set_len(0).unwrap();
    let signal = "SIGBUS (code 2)";
    for (text, what) in [
        (refused(ctrl.read()), "block.CTRL: the bus answered a 32-bit read"),
        (refused(ctrl.write(1)), "block.CTRL: the bus answered a 32-bit write"),
        (refused(ctrl.modify(1, 1)), "block.CTRL: the bus answered a 32-bit read"),
        (
            refused(device.register("CH[3].HALF").unwrap().read()),
            "block.CH[3].HALF: the bus answered a 16-bit read",
        ),
        (refused(device.regions()[0].write_from(&[0; 64], 0x10, None, None)), "a 32-bit write"),
    ] {
        assert_has(&text, &["bus: block", what, signal, "at offset 0x", "powered"]);
    }
    let Err(Error::Bus(fault)) = device.register("CH[3].HALF").unwrap().read() else { panic!("a fault") };
    assert_eq!((fault.at.as_str(), fault.offset, fault.physical), ("block.CH[3].HALF", 0x134, None));
    assert_eq!((fault.width, fault.write, fault.fault.unwrap().code), (Width::W16, false, 2));
    // Locks are free again, and so is the memory once it is back.
    memory.file.set_len(SIZE).unwrap();
    ctrl.modify(0xf0, 0x20).unwrap();
    assert_eq!(ctrl.read().unwrap(), 0x20);
}

#[test]
fn many_threads_lose_nothing() {
    const TIMES: u64 = 20_000;
    let device = mock();
    let wide = device.register("WIDE").unwrap();
    std::thread::scope(|scope| {
        for lsb in [0, 16, 32, 48] {
            let wide = wide.clone();
            scope.spawn(move || {
                for count in 1..=TIMES {
                    wide.modify(0xffff << lsb, count << lsb).unwrap();
                    assert_eq!(wide.read().unwrap() >> lsb & 0xffff, count);
                }
            });
        }
    });
    assert_eq!(wide.read().unwrap(), 0x4e20_4e20_4e20_4e20);
}

#[test]
fn shared_devices_exclude_each_other() {
    const TIMES: u64 = 30_000;
    let memory = Memory::new();
    let options = Options { shared: true, ..Options::default() };
    let devices = [memory.open_with(&options).unwrap(), memory.open_with(&options).unwrap()];
    let together = Barrier::new(devices.len());
    std::thread::scope(|scope| {
        for (device, lsb) in devices.iter().zip([0, 16]) {
            let (wide, together) = (device.register("WIDE").unwrap(), &together);
            scope.spawn(move || {
                together.wait();
                for count in 1..=TIMES {
                    wide.modify(0xffff << lsb, count << lsb).unwrap();
                    assert_eq!(wide.read().unwrap() >> lsb & 0xffff, count);
                }
            });
        }
    });
    assert_eq!(devices[0].register("WIDE").unwrap().read().unwrap(), 0x7530_7530);
}

/// One thread writes the whole register and sees that it stays; the other writes one of its fields and takes back what
/// it read a moment before, unless the write waits for it.
fn a_write_is_not_undone(times: u64, devices: [&Device; 2], write: impl Fn(u64)) {
    let (wide, done) = (devices[1].register("WIDE").unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let modifies = scope.spawn(|| {
            let wide = devices[0].register("WIDE").unwrap();
            while !done.load(Ordering::Relaxed) {
                wide.modify(0xffff, 7).unwrap();
            }
        });
        let mut undone = None;
        for count in 1..=times {
            let value = count << 16;
            write(value);
            for _ in 0..4 {
                undone = undone.or(Some(wide.read().unwrap() & !0xffff).filter(|found| *found != value));
            }
        }
        done.store(true, Ordering::Relaxed);
        modifies.join().unwrap();
        assert_eq!(undone, None, "a write was taken back");
    });
}

#[test]
fn a_write_comes_before_or_after_a_modify() {
    let memory = Memory::new();
    for (device, times) in [(memory.open(), 40_000), (mock(), 4_000)] {
        let (wide, regs) = (device.register("WIDE").unwrap(), &device.regions()[0]);
        a_write_is_not_undone(times, [&device; 2], |value| wide.write(value).unwrap());
        a_write_is_not_undone(times, [&device; 2], |value| {
            regs.write(0x10, value, Some(Width::W64)).unwrap();
        });
        a_write_is_not_undone(times, [&device; 2], |value| {
            regs.write_from(&value.to_ne_bytes(), 0x10, None, None).unwrap();
        });
    }
}

#[test]
fn a_write_comes_before_or_after_a_modify_of_another_device_that_shares_it() {
    let memory = Memory::new();
    let options = Options { shared: true, ..Options::default() };
    let devices = [&memory.open_with(&options).unwrap(), &memory.open_with(&options).unwrap()];
    let wide = devices[1].register("WIDE").unwrap();
    a_write_is_not_undone(20_000, devices, |value| wide.write(value).unwrap());
    let regs = &devices[1].regions()[0];
    a_write_is_not_undone(20_000, devices, |value| {
        regs.write_from(&value.to_ne_bytes(), 0x10, None, None).unwrap();
    });
}

#[test]
fn closing_gives_the_memory_back_and_keeps_its_addresses() {
    let mapped = |memory: &Memory| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.matches(memory.path.to_str().unwrap()).count()
    };
    let memory = Memory::new();
    let device = memory.open();
    let ctrl = device.register("CTRL").unwrap();
    assert_eq!(mapped(&memory), 3);
    device.close().unwrap();
    assert_eq!(mapped(&memory), 0);
    assert_has(&refused(ctrl.read()), &["closed"]);
    // A register keeps what it needs of a device that is gone.
    let ctrl = memory.open().register("CTRL").unwrap();
    assert_eq!(mapped(&memory), 1);
    ctrl.write(7).unwrap();
    assert_eq!(memory.bytes(0), [7, 0, 0, 0]);
    drop(ctrl);
    assert_eq!(mapped(&memory), 0);
}

#[test]
fn closing_refuses_what_follows_and_ends_what_is_going_on() {
    let device = mock();
    let ctrl = device.register("CTRL").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ctrl.wait(1, 0, None, Duration::MAX, || Ok(())));
        let reads = scope.spawn(|| {
            loop {
                let mut block = [0; 0x1000];
                if let Err(error) = device.regions()[0].read_into(&mut block, 0, None, None) {
                    break error;
                }
                stop.store(true, Ordering::Relaxed);
            }
        });
        while !stop.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        device.close().unwrap();
        assert_has(&refused(waits.join().unwrap()), &["refused: block", "closed"]);
        assert_has(&refused::<()>(Err(reads.join().unwrap())), &["refused: block.regions.regs: ", "closed"]);
    });
    assert!(device.closed());
    device.close().unwrap();
    for text in [
        refused(ctrl.read()),
        refused(ctrl.write(0)),
        refused(ctrl.modify(1, 0)),
        refused(device.regions()[0].read(0, None)),
        refused(device.regions()[2].write_from(&[], 0, None, None)),
    ] {
        assert_has(&text, &["refused: block.", "the device is closed; open it again"]);
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let memory = Memory::new();
    let missing = Device::open(map(), &Source::File(memory.path.join("no")), &Options::default());
    assert_has(&refused(missing), &["source: file:", "/no"]);
    let options = Options { root: Path::new("/nowhere").into(), ..Options::default() };
    for name in ["mem:0x1000_0000", "uio:none", "pci:0000:00:00.0"] {
        let opened = Device::open(map(), &name.parse().unwrap(), &options);
        assert_has(&refused(opened), &["source: ", name.split(':').next().unwrap()]);
    }
    assert_has(&"usb:1".parse::<Source>().unwrap_err().to_string(), &["usb", "mem:0xADDRESS"]);

    memory.file.set_len(0x1080).unwrap();
    assert_has(
        &refused(memory.open_with(&Options::default())),
        &["source: file:", "region id ends at byte 0x1100", "0x1080 bytes"],
    );
    memory.file.set_len(SIZE).unwrap();
    memory.file.write_all_at(&[0x62], 0x1000).unwrap();
    let text = refused(memory.open_with(&Options::default()));
    assert_has(&text, &["source: file:", "this is not a block", "ID is 0x62, not 0x61"]);
    let options = Options { verify: false, ..Options::default() };
    assert_eq!(memory.open_with(&options).unwrap().register("ID").unwrap().read().unwrap(), 0x62);
}

#[test]
fn devices_and_their_parts_say_what_they_are() {
    fn is_shared_between_threads<T: Send + Sync>(_: &T) {}
    let device = mock();
    let ctrl = device.register("CTRL").unwrap();
    is_shared_between_threads(&device);
    is_shared_between_threads(&ctrl);
    assert_has(&format!("{device:?}"), &["Device", "block"]);
    assert_has(&format!("{ctrl:?}"), &["Register", "CTRL"]);
    assert_eq!((device.map().name.as_str(), device.source()), ("block", &Source::Mock));
    assert!(device.interrupt().is_some());
    assert!(ctrl.info().reset.is_some());
    assert_eq!(device.regions()[0].at(), "block.regions.regs");
}
