//! `uio:`: a device of Linux's userspace I/O.
//!
//! Map N of `/dev/uioX` is mapped at offset N times the page size; sysfs says how far into that page it begins
//! (Documentation/driver-api/uio-howto.rst).

use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::file::Known;
use super::{Attached, Interrupt, Source, Span, Step, UioName, pci, sysfs};
use crate::error::SourceError;
use crate::map::{self, UioMap};
use crate::mapping::page_size;

/// One UIO device, as sysfs describes it.
#[derive(Debug)]
pub(super) struct Uio {
    pub number: u32,
    pub name: String,
    pub maps: Vec<Map>,
    sysfs: PathBuf,
    node: PathBuf,
}

/// One memory map of a UIO device.
#[derive(Debug)]
pub(super) struct Map {
    pub index: u32,
    pub name: String,
    /// The physical address of its first byte.
    pub address: u64,
    /// From the start of its first page to its first byte.
    pub offset: u64,
    /// From its first byte to the end of its last page, in bytes: the kernel rounds up to whole pages.
    pub size: u64,
}

/// Every UIO device under the root.
pub(super) fn devices(root: &Path) -> Vec<Uio> {
    let class = root.join("sys/class/uio");
    sysfs::numbered(&class, "uio").into_iter().map(|number| Uio::read(number, root)).collect()
}

impl Uio {
    fn read(number: u32, root: &Path) -> Uio {
        let sysfs = root.join(format!("sys/class/uio/uio{number}"));
        let maps = sysfs::numbered(&sysfs.join("maps"), "map")
            .into_iter()
            .filter_map(|index| {
                let folder = sysfs.join(format!("maps/map{index}"));
                // `addr` and `size` are of whole pages, `offset` is the way into the first one.
                let offset = sysfs::hex(&folder.join("offset")).unwrap_or(0);
                Some(Map {
                    index,
                    name: sysfs::text(&folder.join("name")).unwrap_or_default(),
                    address: sysfs::hex(&folder.join("addr"))?.checked_add(offset)?,
                    offset,
                    size: sysfs::hex(&folder.join("size"))?.checked_sub(offset)?,
                })
            })
            .collect();
        Uio {
            number,
            name: sysfs::text(&sysfs.join("name")).unwrap_or_default(),
            maps,
            node: root.join(format!("dev/uio{number}")),
            sysfs,
        }
    }

    pub fn find(source: &Source, name: &UioName, root: &Path) -> Result<Uio, SourceError> {
        let all = devices(root);
        let there = match all.is_empty() {
            true => "there is no UIO device at all: load uio_pdrv_genirq (device tree) or uio_pci_generic (PCI) and bind the device to it".to_string(),
            false => format!(
                "there are {}",
                all.iter().map(|uio| format!("uio{} ({})", uio.number, uio.name.escape_debug())).collect::<Vec<_>>().join(", ")
            ),
        };
        let fits = |uio: &Uio| match name {
            UioName::Number(number) => uio.number == *number,
            UioName::Name(name) => uio.name == *name,
        };
        let mut fitting: Vec<Uio> = all.into_iter().filter(fits).collect();
        match fitting.len() {
            1 => Ok(fitting.remove(0)),
            0 => Err(SourceError::new(source, "no such UIO device").remedy(there)),
            _ => {
                let numbers: Vec<_> = fitting.iter().map(|uio| format!("uio:{}", uio.number)).collect();
                Err(SourceError::new(source, "several UIO devices have this name")
                    .remedy(format!("choose by number: {}", numbers.join(", "))))
            }
        }
    }

    /// Whether this device is a PCI function, which is what `device` then links to.
    pub fn device(&self) -> PathBuf {
        self.sysfs.join("device")
    }

    pub fn span(&self, attached: &Attached, region: &map::Region) -> Result<Span, SourceError> {
        let map = self.map_of(attached, region)?;
        let end = region.offset.checked_add(region.size);
        if end.is_none_or(|end| end > map.size) {
            return Err(SourceError::new(
                attached,
                format!(
                    "region {} is {:#x} bytes at {:#x}, but map {} ({}) has only {:#x} bytes",
                    region.name,
                    region.size,
                    region.offset,
                    map.index,
                    map.name.escape_debug(),
                    map.size
                ),
            )
            .remedy("is this the right map for it?"));
        }
        Ok(Span {
            path: self.node.clone(),
            file: None,
            flags: 0,
            offset: u64::from(map.index) * page_size() as u64,
            skip: map.offset + region.offset,
            physical: map.address.checked_add(region.offset),
        })
    }

    fn map_of(&self, attached: &Attached, region: &map::Region) -> Result<&Map, SourceError> {
        let named = |map: &&Map| match &region.uio_map {
            Some(UioMap::Index(index)) => map.index == *index,
            Some(UioMap::Name(name)) => map.name == *name,
            // uio_pci_generic lists the memory BARs it knows in turn: only the address tells which is which.
            None => match region.pci_bar.and_then(|bar| pci::bar(&self.device(), bar)) {
                Some(bar) => bar.start == map.address,
                None => map.index == 0,
            },
        };
        let wanted = match (&region.uio_map, region.pci_bar) {
            (Some(UioMap::Index(index)), _) => format!("UIO map {index}"),
            (Some(UioMap::Name(name)), _) => format!("UIO map {:?}", name),
            (None, Some(bar)) => format!("PCI BAR {bar}"),
            (None, None) => "UIO map 0".into(),
        };
        self.maps.iter().find(named).ok_or_else(|| {
            let there = match self.maps.is_empty() {
                true => "it has no maps".to_string(),
                false => {
                    let maps = self.maps.iter().map(|map| {
                        format!(
                            "{} ({}, {:#x} bytes at {:#x})",
                            map.index,
                            map.name.escape_debug(),
                            map.size,
                            map.address
                        )
                    });
                    format!("it has the maps {}", maps.collect::<Vec<_>>().join(", "))
                }
            };
            SourceError::new(
                attached,
                format!("region {} lies in {wanted}, which uio{} has not", region.name, self.number),
            )
            .remedy(there)
        })
    }

    pub fn interrupt(&self, attached: &Attached) -> Result<Option<Interrupt>, SourceError> {
        let config = self.device().join("config");
        Interrupt::open(&attached.to_string(), &self.node, &self.sysfs, config).map_err(|error| {
            let (problem, remedy) = self
                .explain_open(&error)
                .unwrap_or_else(|| (format!("opening {} failed: {error}", self.node.display()), None));
            SourceError { name: attached.to_string(), problem, remedy, errno: error.raw_os_error() }
        })
    }

    pub fn explain(&self, step: &Step, span: &Span, error: &io::Error) -> Known {
        match (step, error.raw_os_error()?) {
            (Step::Open, _) => self.explain_open(error),
            (Step::Map, libc::EINVAL) if span.skip % page_size() as u64 != 0 || self.has_small_map() => Some((
                "the kernel refused to map it (EINVAL)".into(),
                Some("a physical map smaller than a page cannot be mapped on some kernels: round its reg up to a page in the device tree".into()),
            )),
            _ => None,
        }
    }

    fn has_small_map(&self) -> bool {
        self.maps.iter().any(|map| map.size < page_size() as u64)
    }

    fn explain_open(&self, error: &io::Error) -> Known {
        let node = self.node.display();
        match error.raw_os_error()? {
            libc::EACCES => Some((
                format!("no permission for {node}"),
                Some(format!(
                    "give your group the device by a udev rule: SUBSYSTEM==\"uio\", ATTR{{name}}==\"{}\", GROUP=\"plugdev\", MODE=\"0660\"",
                    self.name.escape_debug()
                )),
            )),
            libc::ENOENT => Some((
                format!("sysfs knows uio{}, but there is no {node}", self.number),
                Some("is udev running? In a container, pass the device in".into()),
            )),
            libc::ENODEV => {
                Some((format!("the device behind {node} is gone"), Some("was its driver unbound?".into())))
            }
            _ => None,
        }
    }
}
