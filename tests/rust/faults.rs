//! A million faults in eight threads: none is missed, none costs memory, and the lock is free after each.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use devregs::device::{Device, Options};
use devregs::error::Error;
use devregs::map::Map;
use devregs::source::Source;

const MAP: &str = r#"
[device]
name = "gone"
[regions.regs]
size = 0x1000
[regions.regs.registers.R]
offset = 0x10
fields = { A = 0, B = 8 }
"#;

const FAULTS: usize = 1_000_000;
const THREADS: usize = 8;

fn open(path: &Path) -> (Arc<Device>, File) {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(0x1000).unwrap();
    let map = Map::parse(MAP, "gone.toml").unwrap().map;
    let device = Device::open(map, &Source::File(path.into()), &Options::default()).unwrap();
    (Arc::new(device), file)
}

fn resident_pages() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_faults_in_eight_threads() {
    if !devregs::access::GUARDED {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (device, file) = open(&folder.path().join("memory"));
    let register = device.register("R").unwrap();
    file.set_len(0).unwrap();
    let caught = AtomicUsize::new(0);
    let fault = |write: bool, done: Result<(), Error>| match done {
        Err(Error::Bus(fault)) => {
            // A read-modify-write meets the fault when it reads.
            assert_eq!((fault.write, fault.offset, fault.at.as_str()), (write, 0x10, "gone.R"));
            caught.fetch_add(1, Ordering::Relaxed);
        }
        other => panic!("{other:?} is no fault"),
    };
    let round = || {
        fault(false, register.read().map(drop));
        fault(true, register.write(1));
        fault(false, register.modify(1, 1));
        fault(false, register.read().map(drop));
    };
    round();
    let before = resident_pages();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..FAULTS / THREADS / 4).for_each(|_| round()));
        }
    });
    assert_eq!(caught.load(Ordering::Relaxed), FAULTS + 4);
    assert!(resident_pages() < before + 1024, "memory grew from {before} to {} pages", resident_pages());

    // The device is as good as before when its memory is back.
    file.set_len(0x1000).unwrap();
    register.modify(0x101, 0x101).unwrap();
    assert_eq!(register.read().unwrap(), 0x101);
}
