//! Whether a device still answers: what the system tells of a PCI function, and of a UIO device, while it is open.
//!
//! A PCI function that is gone, asleep or does not decode memory answers each load with all ones, as if a register held
//! them. Its configuration space tells these apart, and files of sysfs that are kept open tell that what was opened has
//! been removed, even where something else is in its place by now.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::libc;

use super::sysfs;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_millis(1);

// The configuration space of every function (PCI Local Bus 3.0, 6.1), as far as anyone may read it.
const COMMAND: usize = 4;
const REVISION_AND_CLASS: usize = 8;
const CACHE_LINE: usize = 0xc;
const BARS: usize = 0x10;
const END: usize = 0x28;
/// The bit of the command register that lets the function answer to memory accesses.
pub(super) const DECODE_MEMORY: u16 = 2;

type Header = [u8; END];

/// Why a device does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Absence {
    /// It was removed since it was opened, or its driver unbound; perhaps it is back, as another.
    Removed = 1,
    /// Its configuration space reads as all ones.
    Silent,
    /// It is in power state D1.
    D1,
    /// D2.
    D2,
    /// D3hot.
    D3Hot,
    /// D3cold.
    D3Cold,
    /// The command register does not let it answer to memory accesses.
    NotDecoding,
    /// Its ids, class or BARs are not those it was opened with.
    Replaced,
}

const ABSENCES: [Absence; 8] = [
    Absence::Removed,
    Absence::Silent,
    Absence::D1,
    Absence::D2,
    Absence::D3Hot,
    Absence::D3Cold,
    Absence::NotDecoding,
    Absence::Replaced,
];

impl Absence {
    /// One word for it: `removed`, `silent`, `asleep`, `not-decoding` or `replaced`.
    pub fn word(self) -> &'static str {
        match self {
            Absence::Removed => "removed",
            Absence::Silent => "silent",
            Absence::D1 | Absence::D2 | Absence::D3Hot | Absence::D3Cold => "asleep",
            Absence::NotDecoding => "not-decoding",
            Absence::Replaced => "replaced",
        }
    }

    /// That of a power state by sysfs's name for it.
    fn of_power(state: &str) -> Option<Absence> {
        match state {
            "D1" => Some(Absence::D1),
            "D2" => Some(Absence::D2),
            "D3hot" => Some(Absence::D3Hot),
            "D3cold" => Some(Absence::D3Cold),
            _ => None,
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Absence::Removed => "was removed since it was opened",
            Absence::Silent => "does not answer: its configuration space reads as all ones",
            Absence::D1 => "sleeps (D1)",
            Absence::D2 => "sleeps (D2)",
            Absence::D3Hot => "sleeps (D3hot)",
            Absence::D3Cold => "sleeps (D3cold)",
            Absence::NotDecoding => {
                "does not answer to memory accesses: bit 1 of its COMMAND register, at 0x4 in its configuration space, is 0"
            }
            Absence::Replaced => "is not as it was opened: its ids, its class or its BARs have changed",
        })
    }
}

/// What tells whether an open device is still there.
#[derive(Debug)]
pub struct Presence {
    uio: Option<Kept>,
    card: Option<Card>,
}

/// A file of sysfs, kept open: once its device is removed, it cannot be read any more.
#[derive(Debug)]
struct Kept {
    what: String,
    file: File,
}

/// A PCI function.
#[derive(Debug)]
struct Card {
    what: String,
    folder: PathBuf,
    config: File,
    power: Option<File>,
    /// A virtual function: it decodes memory as its physical function says, and the bit is wired to 0.
    is_virtual: bool,
    /// As it was opened.
    header: Option<Header>,
    epoch: Instant,
    /// The last answer: its time since `epoch` in microseconds, then 8 bits for what it was; 0 before the first.
    answer: AtomicU64,
}

impl Presence {
    /// Keeps open what tells of a UIO device, by its folder in sysfs, and of the PCI function in this folder, if it is
    /// one.
    pub(super) fn keep(uio: Option<(&Path, u32)>, function: &Path) -> Option<Presence> {
        let uio = uio.and_then(|(folder, number)| {
            let file = File::open(folder.join("event")).ok()?;
            Some(Kept { what: format!("the UIO device uio{number}"), file })
        });
        let card = Card::open(function);
        (uio.is_some() || card.is_some()).then_some(Presence { uio, card })
    }

    /// Whether all ones may mean that nothing answers.
    pub(crate) fn doubts_ones(&self) -> bool {
        self.card.is_some()
    }

    /// What is wrong with the PCI function, as of a millisecond ago at most. Wakes nothing.
    pub(crate) fn absence(&self) -> Option<Absence> {
        self.card.as_ref()?.recent()
    }

    /// What is wrong with the device, asked now.
    pub(crate) fn ask(&self) -> Option<Absence> {
        let removed = self.uio.as_ref().filter(|kept| kept.removed()).map(|_| Absence::Removed);
        removed.or_else(|| self.card.as_ref()?.ask())
    }

    /// What is wrong with the PCI function alone, asked now.
    pub(super) fn ask_card(&self) -> Option<Absence> {
        self.card.as_ref()?.ask()
    }

    /// A sentence about an absence, and what to do about it.
    pub(crate) fn explain(&self, absence: Absence) -> (String, String) {
        let unbound = self.uio.as_ref().filter(|kept| absence == Absence::Removed && kept.removed());
        let what = match (unbound, &self.card) {
            (Some(kept), _) => &kept.what,
            (None, Some(card)) => &card.what,
            (None, None) => "the device",
        };
        let remedy = match (&self.card, absence) {
            (_, Absence::Removed) => match unbound {
                Some(_) => {
                    "was its driver unbound, or the card removed? Close it, and open it again once it is back"
                        .into()
                }
                None => "close it, and open it again once it is back".into(),
            },
            (Some(card), absence) => card.remedy(absence),
            (None, _) => String::new(),
        };
        (format!("{what} {absence}"), remedy)
    }
}

impl Kept {
    fn removed(&self) -> bool {
        gone(&self.file) || self.file.read_at(&mut [0], 0).is_err_and(|error| is_removed(&error))
    }
}

/// What sysfs says of a file whose device is no more.
fn is_removed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODEV)
}

/// Whether the file has no name any more.
fn gone(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

impl Card {
    fn open(folder: &Path) -> Option<Card> {
        let config = File::open(folder.join("config")).ok()?;
        let address =
            sysfs::link_name(folder).or_else(|| Some(folder.file_name()?.to_string_lossy().into()))?;
        let power = File::open(folder.join("power_state")).ok();
        let mut card = Card {
            what: format!("the PCI function {address}"),
            folder: fs::canonicalize(folder).unwrap_or_else(|_| folder.into()),
            config,
            power,
            is_virtual: folder.join("physfn").is_symlink(),
            header: None,
            epoch: Instant::now(),
            answer: AtomicU64::new(0),
        };
        card.header = match card.asleep() {
            None => card.read().ok(),
            Some(_) => None,
        };
        Some(card)
    }

    fn recent(&self) -> Option<Absence> {
        let now = self.epoch.elapsed().as_micros() as u64;
        let answer = self.answer.load(Ordering::Relaxed);
        let (time, code) = (answer >> 8, answer & 0xff);
        if answer != 0 && now.saturating_sub(time) < KEPT.as_micros() as u64 {
            return ABSENCES.get((code as usize).wrapping_sub(2)).copied();
        }
        self.ask()
    }

    fn ask(&self) -> Option<Absence> {
        let found = self.look();
        // 1: it is there.
        let code = found.map_or(1, |absence| absence as u64 + 1);
        let now = self.epoch.elapsed().as_micros() as u64;
        self.answer.store(now << 8 | code, Ordering::Relaxed);
        found
    }

    /// The power state first: to read the configuration space of a function that sleeps wakes it.
    fn look(&self) -> Option<Absence> {
        if gone(&self.config) {
            return Some(Absence::Removed);
        }
        if let Some(asleep) = self.asleep() {
            return Some(asleep);
        }
        let header = match self.read() {
            Ok(header) => header,
            Err(error) if is_removed(&error) => return Some(Absence::Removed),
            // Nothing that a register's value could be judged by.
            Err(_) => return None,
        };
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        // The ids of a virtual function read as ones anyway.
        if word(0) == u16::MAX && (word(COMMAND) == u16::MAX || !self.is_virtual) {
            return Some(Absence::Silent);
        }
        let lasting = |header: &Header| {
            let ids: [u8; COMMAND] = header[..COMMAND].try_into().unwrap_or_default();
            let class: [u8; 4] = header[REVISION_AND_CLASS..CACHE_LINE].try_into().unwrap_or_default();
            let bars: [u8; END - BARS] = header[BARS..].try_into().unwrap_or_default();
            (ids, class, bars)
        };
        if self.header.as_ref().is_some_and(|opened| lasting(opened) != lasting(&header)) {
            return Some(Absence::Replaced);
        }
        (word(COMMAND) & DECODE_MEMORY == 0 && !self.is_virtual).then_some(Absence::NotDecoding)
    }

    fn asleep(&self) -> Option<Absence> {
        let mut text = [0; 16];
        let length = self.power.as_ref()?.read_at(&mut text, 0).ok()?;
        Absence::of_power(std::str::from_utf8(&text[..length]).ok()?.trim_end())
    }

    fn read(&self) -> io::Result<Header> {
        let mut header = [0; END];
        self.config.read_exact_at(&mut header, 0)?;
        Ok(header)
    }

    fn remedy(&self, absence: Absence) -> String {
        let folder = self.folder.display();
        let again = format!("echo 1 > {folder}/remove; echo 1 > /sys/bus/pci/rescan");
        match absence {
            Absence::Removed => "open it again once it is back".into(),
            Absence::Silent => {
                format!("is the card there, powered, and out of reset? Then find it anew: {again}")
            }
            Absence::D1 | Absence::D2 | Absence::D3Hot | Absence::D3Cold => {
                format!("keep it awake: echo on > {folder}/power/control")
            }
            Absence::NotDecoding if sysfs::text(&self.folder.join("enable")).as_deref() == Some("0") => {
                format!("bind it to a driver, or: echo 1 > {folder}/enable")
            }
            Absence::NotDecoding => {
                let address = self.folder.file_name().unwrap_or_default().to_string_lossy();
                format!(
                    "setpci -s {address} COMMAND=2:2; where the card was reset or reprogrammed, find it anew: {again}"
                )
            }
            Absence::Replaced => {
                format!("was it reset or reprogrammed? Close it, find it anew: {again}; and open it again")
            }
        }
    }
}
