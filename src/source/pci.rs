//! `pci:`: a PCI function's memory BARs through the `resourceN` files of sysfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::file::Known;
use super::{Attached, PciAddress, PciName, Source, Span, Step, sysfs, uio};
use crate::error::SourceError;
use crate::map;
use crate::mapping::page_size;

// Of the kernel's ioport.h, in the third column of `resource`.
const IORESOURCE_IO: u64 = 0x100;
const IORESOURCE_MEM: u64 = 0x200;
const IORESOURCE_UNSET: u64 = 0x2000_0000;

/// One PCI function.
#[derive(Debug)]
pub(super) struct Pci {
    pub address: PciAddress,
    pub vendor: u16,
    pub device: u16,
    folder: PathBuf,
}

/// What a BAR is, and where the machine has put it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub start: u64,
    pub size: u64,
    pub kind: BarKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum BarKind {
    Memory,
    /// x86's other address space, which no mmap reaches.
    Ports,
    /// Memory or ports that found no room.
    Unassigned,
}

/// Every PCI function under the root, in the order of their addresses.
pub(super) fn functions(root: &Path) -> Vec<Pci> {
    let entries = fs::read_dir(root.join("sys/bus/pci/devices")).into_iter().flatten().flatten();
    let mut all: Vec<Pci> = entries
        .filter_map(|entry| {
            let folder = entry.path();
            let (vendor, device) = ids(&folder)?;
            let address = PciAddress::parse(entry.file_name().to_str()?)?;
            Some(Pci { address, vendor, device, folder })
        })
        .collect();
    all.sort_by_key(|pci| pci.address);
    all
}

/// The vendor and device id of the function in this sysfs folder.
pub(super) fn ids(folder: &Path) -> Option<(u16, u16)> {
    let id = |name| sysfs::hex(&folder.join(name)).and_then(|id| u16::try_from(id).ok());
    Some((id("vendor")?, id("device")?))
}

/// What the function in this sysfs folder has as BAR `index`; None where that is not there, or no PCI function is.
pub(super) fn bar(folder: &Path, index: u8) -> Option<Bar> {
    let text = sysfs::text(&folder.join("resource"))?;
    let mut columns = text.lines().nth(index.into())?.split_whitespace().map(sysfs::parse_hex);
    let (start, last, flags) = (columns.next()??, columns.next()??, columns.next()??);
    if flags == 0 || last < start {
        return None;
    }
    let kind = match flags {
        // No BAR that works begins at 0: what is not assigned says so in newer kernels only.
        _ if flags & IORESOURCE_UNSET != 0 || start == 0 => BarKind::Unassigned,
        _ if flags & IORESOURCE_MEM != 0 => BarKind::Memory,
        _ if flags & IORESOURCE_IO != 0 => BarKind::Ports,
        _ => return None,
    };
    Some(Bar { start, size: last - start + 1, kind })
}

/// The BARs of the function in this sysfs folder, each with its index.
pub(super) fn bars(folder: &Path) -> impl Iterator<Item = (u8, Bar)> {
    (0..6u8).filter_map(move |index| Some((index, bar(folder, index)?)))
}

impl Pci {
    pub fn find(source: &Source, name: &PciName, root: &Path) -> Result<Pci, SourceError> {
        let all = functions(root);
        let there = match all.is_empty() {
            true => "this machine shows no PCI devices in sysfs".to_string(),
            false => format!("there are {}", list(&all)),
        };
        let mut fitting: Vec<Pci> = all.into_iter().filter(|pci| pci.is(name)).collect();
        match fitting.len() {
            1 => Ok(fitting.remove(0)),
            0 => Err(SourceError::new(source, "no such PCI function").remedy(there)),
            _ => Err(SourceError::new(source, "several PCI functions have these ids")
                .remedy(format!("choose by address: {}", list(&fitting)))),
        }
    }

    fn is(&self, name: &PciName) -> bool {
        self.names().contains(name)
    }

    /// What it may be called, the most exact first.
    pub fn names(&self) -> [PciName; 2] {
        [PciName::Address(self.address), PciName::Id(self.vendor, self.device)]
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn span(&self, attached: &Attached, region: &map::Region) -> Result<Span, SourceError> {
        span(&self.folder, attached, region, region.pci_bar.unwrap_or(0))
    }

    pub fn explain(
        &self,
        root: &Path,
        step: &Step,
        region: &map::Region,
        span: &Span,
        error: &io::Error,
    ) -> Known {
        explain(&self.folder, root, step, region.pci_bar.unwrap_or(0), span, error)
    }
}

/// Where a region lies in a BAR of the function in this sysfs folder.
pub(super) fn span(
    folder: &Path,
    attached: &Attached,
    region: &map::Region,
    index: u8,
) -> Result<Span, SourceError> {
    let wrong = |problem: String| SourceError::new(attached, problem);
    let Some(bar) = bar(folder, index) else {
        let there: Vec<_> = bars(folder).map(|(index, _)| index.to_string()).collect();
        return Err(wrong(format!("region {} lies in BAR {index}, which the function has not", region.name))
            .remedy(match there.is_empty() {
                true => "it has no BARs".into(),
                false => format!("it has BAR {}", there.join(", ")),
            }));
    };
    match bar.kind {
        BarKind::Memory => {}
        BarKind::Ports => {
            return Err(wrong(format!(
                "BAR {index} is {:#x} I/O ports at {:#x}, which cannot be mapped",
                bar.size, bar.start
            )));
        }
        BarKind::Unassigned => {
            return Err(wrong(format!("BAR {index} has no address: the system found no room for it"))
                .remedy("look for it in dmesg; remove and rescan the function, or boot with pci=realloc"));
        }
    }
    if region.offset.checked_add(region.size).is_none_or(|end| end > bar.size) {
        return Err(wrong(format!(
            "region {} is {:#x} bytes at {:#x}, but BAR {index} has only {:#x} bytes",
            region.name, region.size, region.offset, bar.size
        ))
        .remedy("is this the right map for it?"));
    }
    attached.check_card()?;
    Ok(Span {
        path: folder.join(format!("resource{index}")),
        file: None,
        flags: libc::O_SYNC,
        offset: 0,
        // The file begins at the page the BAR begins in.
        skip: bar.start % page_size() as u64 + region.offset,
        physical: bar.start.checked_add(region.offset),
        whole_pages: true,
    })
}

pub(super) fn explain(
    folder: &Path,
    root: &Path,
    step: &Step,
    index: u8,
    span: &Span,
    error: &io::Error,
) -> Known {
    let path = span.path.display();
    let known = |problem: String, remedy: &str| Some((problem, Some(remedy.to_string())));
    match (step, error.raw_os_error()?) {
        (Step::Open, libc::EACCES) => known(
            format!("no permission for {path}"),
            "run as root; or bind the function to uio_pci_generic or vfio and give your group the device by a udev rule",
        ),
        (_, libc::EPERM) => known(
            format!("the kernel is locked down: it does not allow {path}"),
            "use uio: (uio_pci_generic), which lockdown allows",
        ),
        (Step::Open, libc::ENOENT) => known(format!("there is no {path}"), "was the function removed?"),
        // The kernel has no other word for a range that a driver has claimed for itself (IO_STRICT_DEVMEM).
        (Step::Map, libc::EINVAL) => {
            let driver = sysfs::link_name(&folder.join("driver"))?;
            let unbind = format!(
                "unbind it: echo {} > {}",
                folder.file_name()?.to_string_lossy(),
                folder.join("driver/unbind").display()
            );
            let remedy = match uio::behind(folder, root) {
                Some(source) => format!("{unbind}; or use {source}"),
                None => format!("{unbind}; then uio: with uio_pci_generic works as well"),
            };
            known(format!("the driver {driver} has claimed BAR {index}, and keeps it for itself"), &remedy)
        }
        _ => None,
    }
}

fn list(all: &[Pci]) -> String {
    let each = all.iter().map(|pci| {
        format!("{} ({:04x}:{:04x})", Source::Pci(PciName::Address(pci.address)), pci.vendor, pci.device)
    });
    each.collect::<Vec<_>>().join(", ")
}
