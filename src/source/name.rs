//! The names of sources: `mem:0x4120_0000`, `ram:0x8000_0000`, `uio:NAME`, `uio:N`, `pci:0000:01:00.0`, `pci:10ee:7021`, `file:PATH`, `mock:`, `replay:PATH`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::SourceError;

/// Where the bytes of a device are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Registers from this physical address, through /dev/mem.
    Mem(u64),
    /// RAM from this physical address, through /dev/mem: what `mem:` refuses.
    Ram(u64),
    /// A UIO device.
    Uio(UioName),
    /// A PCI function, through sysfs.
    Pci(PciName),
    /// A file, from its start.
    File(PathBuf),
    /// A private memory that behaves as the map says.
    Mock,
    /// A recording, played back.
    Replay(PathBuf),
}

/// How a UIO device is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UioName {
    /// `/dev/uio3` is 3.
    Number(u32),
    /// The content of its `name` in sysfs.
    Name(String),
}

/// How a PCI function is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PciName {
    /// Domain, bus, device and function, as sysfs writes them: `0000:01:00.0`.
    Address(String),
    /// Vendor and device id.
    Id(u16, u16),
}

const FORMS: &str = "a source is mem:ADDRESS, uio:NAME, uio:NUMBER, pci:0000:01:00.0, pci:VENDOR:DEVICE, file:PATH, replay:PATH or mock:";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Source, SourceError> {
        let wrong = |problem: String| SourceError::new(text.escape_debug(), problem).remedy(FORMS);
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(wrong("names no kind of source".into()));
        };
        match kind {
            "mem" => parse_address(rest)
                .map(Source::Mem)
                .ok_or_else(|| wrong("the address is not a number of 64 bits".into())),
            "ram" => parse_address(rest)
                .map(Source::Ram)
                .ok_or_else(|| wrong("the address is not a number of 64 bits".into())),
            "uio" if rest.is_empty() => Err(wrong("names no UIO device".into())),
            "uio" => Ok(Source::Uio(match rest.parse() {
                Ok(number) => UioName::Number(number),
                Err(_) => UioName::Name(rest.into()),
            })),
            "pci" => parse_pci(rest)
                .map(Source::Pci)
                .ok_or_else(|| wrong("is no PCI address and no vendor and device id".into())),
            "file" if rest.is_empty() => Err(wrong("names no file".into())),
            "file" => Ok(Source::File(rest.into())),
            "replay" if rest.is_empty() => Err(wrong("names no recording".into())),
            "replay" => Ok(Source::Replay(rest.into())),
            "mock" if rest.is_empty() => Ok(Source::Mock),
            "mock" => Err(wrong("a mock takes no argument".into())),
            _ => Err(wrong(format!("unknown kind of source {:?}", kind))),
        }
    }
}

/// Decimal, or hexadecimal after `0x`; underscores between digits.
fn parse_address(text: &str) -> Option<u64> {
    if text.starts_with(['+', '_']) {
        return None;
    }
    let digits = text.replace('_', "");
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits.parse().ok(),
    }
}

/// `0000:01:00.0`, `01:00.0` (domain 0), or `10ee:7021`.
fn parse_pci(text: &str) -> Option<PciName> {
    let hex = |part: &str, length: usize| {
        let fits = part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| u16::from_str_radix(part, 16).ok()).flatten()
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (domain, bus, slot) = match parts[..] {
        [vendor, device] if !device.contains('.') => {
            return Some(PciName::Id(hex(vendor, 4)?, hex(device, 4)?));
        }
        [bus, slot] => (0, hex(bus, 2)?, slot),
        [domain, bus, slot] => (hex(domain, 4)?, hex(bus, 2)?, slot),
        _ => return None,
    };
    let (device, function) = slot.split_once('.')?;
    let (device, function) = (hex(device, 2)?, hex(function, 1)?);
    (device < 32 && function < 8)
        .then(|| PciName::Address(format!("{domain:04x}:{bus:02x}:{device:02x}.{function}")))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Mem(address) => write!(f, "mem:{address:#x}"),
            Source::Ram(address) => write!(f, "ram:{address:#x}"),
            Source::Uio(UioName::Number(number)) => write!(f, "uio:{number}"),
            Source::Uio(UioName::Name(name)) => write!(f, "uio:{}", name.escape_debug()),
            Source::Pci(PciName::Address(address)) => write!(f, "pci:{address}"),
            Source::Pci(PciName::Id(vendor, device)) => write!(f, "pci:{vendor:04x}:{device:04x}"),
            Source::File(path) => write!(f, "file:{}", path.display().to_string().escape_debug()),
            Source::Mock => f.write_str("mock:"),
            Source::Replay(path) => write!(f, "replay:{}", path.display().to_string().escape_debug()),
        }
    }
}
