//! Mocks, recordings and scripts, as a Rust program uses them.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use devregs::device::{Device, Options};
use devregs::error::{Error, Result};
use devregs::map::Map;
use devregs::mock::{Gone, Pace};
use devregs::source::Source;
use devregs::trace::{Expected, Op, Script, Step};

const MAP: &str = r#"
[device]
name = "block"
[regions.regs]
size = 0x100
[regions.regs.registers]
CTRL = { offset = 0, reset = 0x10, fields = { START = 0, MODE = "7:4" } }
STATUS = { offset = 4, access = "ro", fields = { READY = 0 } }
FLAGS = { offset = 8, reset = 0xf, on-write = "one-to-clear" }
DATA = { offset = 12, fifo = 2 }

[[behaviour]]
on-write = "CTRL.START=1"
after = 0.5
set = { "STATUS.READY" = 1 }
interrupt = true
"#;

fn map() -> Arc<Map> {
    Map::parse(MAP, "block.toml").expect("a map").map
}

fn mock() -> Device {
    let options = Options { pace: Pace::Virtual(Duration::ZERO), ..Options::default() };
    Device::open(map(), &Source::Mock, &options).expect("a mock")
}

fn read(device: &Device, path: &str) -> Result<u64> {
    device.register(path)?.read()
}

#[test]
fn a_mock_behaves_as_its_map_says() -> Result<()> {
    let device = mock();
    let mock = device.mock().expect("a mock");
    device.register("FLAGS")?.write(0b0101)?;
    assert_eq!(read(&device, "FLAGS")?, 0b1010);
    device.regions()[0].write(4, 1, None)?;
    assert_eq!(read(&device, "STATUS")?, 0);

    device.register("CTRL")?.modify(1, 1)?;
    assert_eq!(
        device.register("STATUS")?.wait(1, 1, Some(Duration::from_secs(9)), Duration::ZERO, || {
            mock.advance(Duration::from_millis(100), || Ok::<_, Error>(()))?;
            Ok(())
        })?,
        1
    );
    assert_eq!(device.wait_interrupt(Some(Duration::ZERO), true, || Ok(()))?, 1);

    let data = device.map().target("DATA")?;
    assert!(mock.push(&data, 7) && mock.push(&data, 8) && !mock.push(&data, 9));
    assert_eq!((read(&device, "DATA")?, read(&device, "DATA")?, read(&device, "DATA")?), (7, 8, 0));
    device.register("DATA")?.write(5)?;
    assert_eq!((mock.pop(&data), mock.pop(&data)), (Some(5), None));

    mock.reset();
    assert_eq!((read(&device, "FLAGS")?, read(&device, "CTRL")?), (0xf, 0x10));
    Ok(())
}

#[test]
fn a_split_register_lies_where_its_halves_may() -> Result<()> {
    let text = r#"
[device]
name = "halves"
[regions.regs]
size = 0x100
[regions.regs.registers]
LITTLE = { offset = 4, width = 64, split = "low-first", reset = 0x1122_3344_5566_7788 }
BIG = { offset = 12, width = 64, split = "high-first", byte-order = "big", fields.W = "47:16" }
"#;
    let map = Map::parse(text, "halves.toml").expect("a map").map;
    let device = Device::open(map, &Source::Mock, &Options::default())?;
    assert_eq!(read(&device, "LITTLE")?, 0x1122_3344_5566_7788);
    device.register("BIG")?.write(0x0102_0304_0506_0708)?;
    assert_eq!(read(&device, "BIG")?, 0x0102_0304_0506_0708);
    let place = device.map().target("BIG.W")?;
    let mock = device.mock().expect("a mock");
    mock.set(&place, 0xaabb_ccdd);
    assert_eq!((mock.get(&place), read(&device, "BIG")?), (0xaabb_ccdd, 0x0102_aabb_ccdd_0708));
    assert_eq!(device.regions()[0].read(12, None)?, 0xbbaa_0201);
    Ok(())
}

#[test]
fn the_hardware_can_be_set_hooked_and_broken() -> Result<()> {
    let device = mock();
    let mock = device.mock().expect("a mock");
    let mode = device.map().target("CTRL.MODE")?;
    mock.set(&mode, 3);
    assert_eq!((read(&device, "CTRL")?, mock.get(&mode)), (0x30, 3));

    let seen = Arc::new(AtomicU64::new(0));
    let hook = seen.clone();
    mock.on_write(
        mode.clone(),
        Arc::new(move |value| {
            hook.store(value, Ordering::Relaxed);
            if value == 9 { Err("nine".into()) } else { Ok(Some(1)) }
        }),
    );
    device.register("CTRL")?.write(0x50)?;
    assert_eq!((seen.load(Ordering::Relaxed), read(&device, "CTRL")?), (5, 0x10));
    let error = device.register("CTRL")?.write(0x90).expect_err("the hook's");
    assert_eq!(error.to_string(), "nine");
    mock.remove_hooks();

    mock.fail(&mode, Some(1));
    assert!(matches!(read(&device, "CTRL"), Err(Error::Bus(_))));
    mock.vanish(Some(Gone::Ones));
    assert_eq!(read(&device, "CTRL")?, u64::from(u32::MAX));
    mock.heal();
    assert_eq!(read(&device, "CTRL")?, 0x90);
    Ok(())
}

#[test]
fn a_recording_is_played_back() -> Result<()> {
    let device = mock();
    let trace = device.start_trace(None);
    let session = |device: &Device| {
        device.register("CTRL")?.modify(0xf0, 0x20)?;
        device.register("FLAGS")?.read()
    };
    assert_eq!(session(&device)?, 0xf);
    device.stop_trace(&trace);
    read(&device, "CTRL")?;
    let made: Vec<_> = trace.records().iter().map(|record| (record.op, record.value)).collect();
    assert_eq!(made, [(Op::Read, 0x10), (Op::Write, 0x20), (Op::Read, 0xf)]);

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), trace.to_json_lines()).expect("written");
    let replay = || Device::open(map(), &Source::Replay(file.path().into()), &Options::default());
    let device = replay()?;
    assert_eq!(session(&device)?, 0xf);
    device.finish_script()?;
    let device = replay()?;
    let error = device.register("CTRL")?.write(1).expect_err("another access");
    assert!(error.to_string().contains("access 1 is not that of the recording"), "{error}");
    assert!(device.finish_script().is_err());
    Ok(())
}

#[test]
fn only_expected_accesses_pass() -> Result<()> {
    let device = mock();
    let place = device.map().target("CTRL")?;
    let what = Expected {
        op: Some(Op::Write),
        place: Some((place.region, place.offset, Some(place.register))),
        bits: (0xf0, 0x20),
        answer: None,
    };
    let step = Step { accesses: vec![what], text: "write  CTRL  MODE=2".into(), least: 1, most: Some(2) };
    let script = || Script::expect(device.map().clone(), vec![step.clone()]);
    device.set_script(Some(script()));
    assert!(device.finish_script().is_err());
    device.set_script(Some(script()));
    device.register("CTRL")?.write(0x2f)?;
    device.finish_script()?;
    let error = read(&device, "STATUS").expect_err("not expected");
    assert!(error.to_string().contains("write  CTRL  MODE=2"), "{error}");
    device.set_script(None);
    assert_eq!(read(&device, "CTRL")?, 0x2f);
    Ok(())
}
