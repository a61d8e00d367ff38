//! `pci:`: a PCI function's memory BARs through the `resourceN` files of sysfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::file::Known;
use super::{Attached, PciName, Source, Span, Step, sysfs};
use crate::error::SourceError;
use crate::map;
use crate::mapping::page_size;

/// IORESOURCE_MEM of the kernel's ioport.h, in the third column of `resource`.
const FLAG_MEMORY: u64 = 0x200;

/// One PCI function.
#[derive(Debug)]
pub(super) struct Pci {
    pub address: String,
    pub vendor: u16,
    pub device: u16,
    folder: PathBuf,
}

/// Where the machine has put a BAR.
pub(super) struct Bar {
    pub start: u64,
    pub size: u64,
    pub memory: bool,
}

/// Every PCI function under the root, in the order of their addresses.
pub(super) fn functions(root: &Path) -> Vec<Pci> {
    let mut all: Vec<Pci> = fs::read_dir(root.join("sys/bus/pci/devices"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let folder = entry.path();
            let id = |name| sysfs::hex(&folder.join(name)).and_then(|id| u16::try_from(id).ok());
            let (vendor, device) = (id("vendor")?, id("device")?);
            Some(Pci { address: entry.file_name().into_string().ok()?, vendor, device, folder })
        })
        .collect();
    all.sort_by(|a, b| a.address.cmp(&b.address));
    all
}

/// What the function in this sysfs folder has as BAR `index`; None where that is not there, or no PCI function is.
pub(super) fn bar(folder: &Path, index: u8) -> Option<Bar> {
    let text = sysfs::text(&folder.join("resource"))?;
    let mut columns = text.lines().nth(index.into())?.split_whitespace().map(sysfs::parse_hex);
    let (start, last, flags) = (columns.next()??, columns.next()??, columns.next()??);
    (last > start).then(|| Bar { start, size: last - start + 1, memory: flags & FLAG_MEMORY != 0 })
}

impl Pci {
    pub fn find(source: &Source, name: &PciName, root: &Path) -> Result<Pci, SourceError> {
        let all = functions(root);
        let there = match all.is_empty() {
            true => "this machine shows no PCI devices in sysfs".to_string(),
            false => format!("there are {}", list(&all)),
        };
        let fits = |pci: &Pci| match name {
            PciName::Address(address) => pci.address == *address,
            PciName::Id(vendor, device) => (pci.vendor, pci.device) == (*vendor, *device),
        };
        let mut fitting: Vec<Pci> = all.into_iter().filter(fits).collect();
        match fitting.len() {
            1 => Ok(fitting.remove(0)),
            0 => Err(SourceError::new(source, "no such PCI function").remedy(there)),
            _ => Err(SourceError::new(source, "several PCI functions have these ids")
                .remedy(format!("choose by address: {}", list(&fitting)))),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn span(&self, attached: &Attached, region: &map::Region) -> Result<Span, SourceError> {
        let index = region.pci_bar.unwrap_or(0);
        let wrong = |problem: String| SourceError::new(attached, problem);
        let Some(bar) = bar(&self.folder, index) else {
            let there: Vec<_> =
                (0..6).filter(|&n| bar(&self.folder, n).is_some()).map(|n| n.to_string()).collect();
            return Err(wrong(format!(
                "region {} lies in BAR {index}, which the function has not",
                region.name
            ))
            .remedy(match there.is_empty() {
                true => "it has no BARs".into(),
                false => format!("it has BAR {}", there.join(", ")),
            }));
        };
        if !bar.memory {
            return Err(wrong(format!("BAR {index} is an I/O port range, which cannot be mapped")));
        }
        if region.offset.checked_add(region.size).is_none_or(|end| end > bar.size) {
            return Err(wrong(format!(
                "region {} is {:#x} bytes at {:#x}, but BAR {index} has only {:#x} bytes",
                region.name, region.size, region.offset, bar.size
            ))
            .remedy("is this the right map for it?"));
        }
        if sysfs::text(&self.folder.join("enable")).as_deref() == Some("0") {
            return Err(wrong("the function is not enabled: its memory would read as all ones".into())
                .remedy(format!(
                    "bind it to a driver, or: echo 1 > {}",
                    self.folder.join("enable").display()
                )));
        }
        Ok(Span {
            path: self.folder.join(format!("resource{index}")),
            file: None,
            flags: libc::O_SYNC,
            offset: 0,
            // The file begins at the page the BAR begins in.
            skip: bar.start % page_size() as u64 + region.offset,
            physical: bar.start.checked_add(region.offset),
        })
    }

    pub fn explain(&self, step: &Step, span: &Span, error: &io::Error) -> Known {
        let path = span.path.display();
        let known = |problem: String, remedy: &str| Some((problem, Some(remedy.to_string())));
        match (step, error.raw_os_error()?) {
            (Step::Open, libc::EACCES) => known(
                format!("no permission for {path}"),
                "run as root; or bind the function to uio_pci_generic or vfio and give your group the device by a udev rule",
            ),
            (_, libc::EPERM) => known(
                format!(
                    "the kernel does not allow {path}: it is locked down, or a driver claims the BAR exclusively"
                ),
                "use uio: (uio_pci_generic), which lockdown allows",
            ),
            (Step::Open, libc::ENOENT) => known(format!("there is no {path}"), "was the function removed?"),
            _ => None,
        }
    }
}

fn list(all: &[Pci]) -> String {
    let each = all.iter().map(|pci| format!("{} ({:04x}:{:04x})", pci.address, pci.vendor, pci.device));
    each.collect::<Vec<_>>().join(", ")
}
