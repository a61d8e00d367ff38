//! The names of sources: `mem:0x4120_0000`, `ram:0x8000_0000`, `uio:NAME`, `uio:N`, `pci:0000:01:00.0`, `pci:10ee:7021`, `file:PATH`, `mock:`, `replay:PATH`.
//!
//! What is printed parses back to the same, and goes through a terminal and a shell as it stands: in names of UIO devices
//! and files, a byte may be written as `%` and two hexadecimal digits, and `%`, `+` and whatever acts on a shell are.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
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
    /// `/dev/uio3` is 3: `uio:3`, `uio:uio3` and `uio:/dev/uio3`.
    Number(u32),
    /// The content of its `name` in sysfs.
    Name(String),
    /// Its name, and the physical address of its map 0: `uio:gpio@0xa001_0000`.
    At(String, u64),
    /// The PCI function behind it: `uio:0000:01:00.0`.
    Bus(PciAddress),
}

/// How a PCI function is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PciName {
    /// Where it is: `0000:01:00.0`.
    Address(PciAddress),
    /// Vendor and device id.
    Id(u16, u16),
}

/// The place of a PCI function, as sysfs writes it: domain, bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Of up to 32 bits: those above 0xffff are made up by the kernel, as for Intel's VMD.
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

const FORMS: &str = "a source is mem:0xADDRESS, uio:NAME, uio:NUMBER, uio:NAME@0xADDRESS, pci:0000:01:00.0, pci:VENDOR:DEVICE, file:PATH, replay:PATH or mock:";

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Source, SourceError> {
        let wrong = |problem: String| SourceError::new(text.escape_debug(), problem).remedy(FORMS);
        let Some((kind, place)) = text.split_once(':') else {
            return Err(wrong("names no kind of source".into()));
        };
        let bytes = || unescape(place).map_err(&wrong);
        let path = |missing: &str| match bytes()? {
            path if path.is_empty() => Err(wrong(missing.into())),
            path => Ok(PathBuf::from(OsString::from_vec(path))),
        };
        match kind {
            "mem" => Ok(Source::Mem(address(kind, place).map_err(wrong)?)),
            "ram" => Ok(Source::Ram(address(kind, place).map_err(wrong)?)),
            "uio" if place.is_empty() => Err(wrong("names no UIO device".into())),
            "uio" => Ok(Source::Uio(UioName::parse(place).map_err(wrong)?)),
            "pci" => parse_pci(place)
                .map(Source::Pci)
                .ok_or_else(|| wrong("is no PCI address and no vendor and device id".into())),
            "file" => Ok(Source::File(path("names no file")?)),
            "replay" => Ok(Source::Replay(path("names no recording")?)),
            "mock" if place.is_empty() => Ok(Source::Mock),
            "mock" => Err(wrong("a mock takes no argument".into())),
            _ => Err(wrong(format!("unknown kind of source {kind:?}"))),
        }
    }
}

/// An address, which begins with `0x`: digits alone are hexadecimal to some and decimal to others.
fn address(kind: &str, text: &str) -> Result<u64, String> {
    if let Some(address) = parse_address(text) {
        return Ok(address);
    }
    let digits = text.replace('_', "");
    let reading = |radix| match digits.starts_with('+') || text.starts_with('_') {
        true => None,
        false => u64::from_str_radix(&digits, radix).ok(),
    };
    match (reading(16), reading(10)) {
        (Some(hex), Some(decimal)) if hex != decimal => Err(format!(
            "an address begins with 0x: is it {kind}:{hex:#x}, or {kind}:{decimal:#x}, which is {decimal} in decimal?"
        )),
        (Some(hex), _) => Err(format!("an address begins with 0x: {kind}:{hex:#x}")),
        (None, Some(decimal)) => {
            Err(format!("an address begins with 0x: {kind}:{decimal:#x}, which is {decimal} in decimal"))
        }
        _ => Err("the address is not a number of 64 bits".into()),
    }
}

/// Hexadecimal after `0x`; underscores between digits.
fn parse_address(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?.replace('_', "");
    match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u64::from_str_radix(&digits, 16).ok(),
        false => None,
    }
}

/// The bytes of a name, whose `%41` are bytes.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => (high << 4 | low) as u8,
                    _ => return Err("a % stands before two hexadecimal digits: % itself is %25".into()),
                }
            }
            b'+' => return Err("a + has no place in a name: write it as %2B".into()),
            byte => byte,
        });
    }
    Ok(bytes)
}

/// The name with `%41` for each byte that is not plainly itself, on a terminal and in a shell.
fn escape(name: &[u8]) -> String {
    let plain = |c: char| match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "-._:/@,=".contains(c),
        false => c.is_alphanumeric(),
    };
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match plain(character) {
                true => text.push(character),
                false => percent(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
            }
        }
        percent(chunk.invalid(), &mut text);
    }
    text
}

fn percent(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("%{byte:02X}"));
    }
}

impl UioName {
    fn parse(text: &str) -> Result<UioName, String> {
        let node = text.strip_prefix("/dev/uio").or_else(|| text.strip_prefix("uio"));
        if let Some(number) = number(text).or_else(|| number(node?)) {
            return Ok(UioName::Number(number));
        }
        if let Some(address) = PciAddress::parse(text) {
            return Ok(UioName::Bus(address));
        }
        // What is no UTF-8 is compared as sysfs::text reads it.
        let name = |text| unescape(text).map(|name| String::from_utf8_lossy(&name).into_owned());
        match text.rsplit_once('@').and_then(|(name, place)| Some((name, parse_address(place)?))) {
            Some((before, address)) => Ok(UioName::At(name(before)?, address)),
            None => Ok(UioName::Name(name(text)?)),
        }
    }
}

/// A number as the kernel writes it.
fn number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

impl PciAddress {
    /// `0000:01:00.0`, `10000:e1:00.0`, or `01:00.0` in domain 0.
    pub(super) fn parse(text: &str) -> Option<PciAddress> {
        let (domain, rest) = match text.split(':').count() {
            3 => text.split_once(':')?,
            _ => ("0000", text),
        };
        let (bus, slot) = rest.split_once(':')?;
        let (device, function) = slot.split_once('.')?;
        let (device, function) = (hex(device, 2..=2)? as u8, hex(function, 1..=1)? as u8);
        let (domain, bus) = (hex(domain, 4..=8)?, hex(bus, 2..=2)? as u8);
        (device < 32 && function < 8).then_some(PciAddress { domain, bus, device, function })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.domain, self.bus, self.device, self.function)
    }
}

/// A number of so many hexadecimal digits.
fn hex(text: &str, length: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let fits = length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { u32::from_str_radix(text, 16).ok() } else { None }
}

/// An address, or `10ee:7021`.
fn parse_pci(text: &str) -> Option<PciName> {
    if let Some(address) = PciAddress::parse(text) {
        return Some(PciName::Address(address));
    }
    let (vendor, device) = text.split_once(':')?;
    Some(PciName::Id(hex(vendor, 4..=4)? as u16, hex(device, 4..=4)? as u16))
}

impl fmt::Display for UioName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UioName::Number(number) => number.fmt(f),
            UioName::Bus(address) => address.fmt(f),
            UioName::At(name, address) => write!(f, "{}@{address:#x}", escape(name.as_bytes())),
            UioName::Name(name) => {
                let mut text = escape(name.as_bytes());
                // A name that looks like something else is no longer that once a character of it is escaped.
                if UioName::parse(&text).as_ref() != Ok(self) {
                    text = text.replace('@', "%40");
                }
                if UioName::parse(&text).as_ref() != Ok(self) {
                    if let Some(first) = text.chars().next().filter(char::is_ascii) {
                        text = format!("%{:02X}{}", u32::from(first), &text[1..]);
                    }
                }
                f.write_str(&text)
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |path: &Path| escape(path.as_os_str().as_bytes());
        match self {
            Source::Mem(address) => write!(f, "mem:{address:#x}"),
            Source::Ram(address) => write!(f, "ram:{address:#x}"),
            Source::Uio(name) => write!(f, "uio:{name}"),
            Source::Pci(PciName::Address(address)) => write!(f, "pci:{address}"),
            Source::Pci(PciName::Id(vendor, device)) => write!(f, "pci:{vendor:04x}:{device:04x}"),
            Source::File(path) => write!(f, "file:{}", escaped(path)),
            Source::Mock => f.write_str("mock:"),
            Source::Replay(path) => write!(f, "replay:{}", escaped(path)),
        }
    }
}
