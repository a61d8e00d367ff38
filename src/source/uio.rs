//! `uio:`: a device of Linux's userspace I/O.
//!
//! Map N of `/dev/uioX` is mapped at offset N times the page size; sysfs says how far into that page it begins
//! (Documentation/driver-api/uio-howto.rst).

use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::file::Known;
use super::{Attached, Interrupt, PciAddress, PciName, Source, Span, Step, UioName, pci, sysfs};
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
    /// The physical address of its first byte; None for memory that uio_dmem_genirq allocates when it is opened.
    pub address: Option<u64>,
    /// From the start of its first page to its first byte.
    pub offset: u64,
    /// From its first byte to the end of its last page, in bytes: the kernel rounds up to whole pages.
    pub size: u64,
}

/// An address in a page. All ones, of 64 or 32 bits, is none: the driver has no memory yet.
fn placed(page: u64, offset: u64) -> Option<u64> {
    match page {
        u64::MAX | 0xffff_ffff => None,
        page => page.checked_add(offset),
    }
}

/// The best name of the UIO device that is bound to the PCI function in this sysfs folder, if one is.
pub(super) fn behind(function: &Path, root: &Path) -> Option<Source> {
    let number = *sysfs::numbered(&function.join("uio"), "uio").first()?;
    let all = devices(root);
    Some(Source::Uio(all.iter().find(|uio| uio.number == number)?.best_name(&all)))
}

/// Every UIO device under the root.
pub(super) fn devices(root: &Path) -> Vec<Uio> {
    let class = root.join("sys/class/uio");
    sysfs::numbered(&class, "uio").into_iter().map(|number| Uio::read(number, root)).collect()
}

/// Where a region lies: in a map, or in a BAR that is none.
enum Place<'a> {
    Map(&'a Map),
    Bar(u8),
}

fn list(maps: &[&Map]) -> String {
    let each = maps.iter().map(|map| {
        let place = match map.address {
            Some(address) => format!(" at {address:#x}"),
            None => String::new(),
        };
        format!("{} ({}, {:#x} bytes{place})", map.index, map.name.escape_debug(), map.size)
    });
    each.collect::<Vec<_>>().join(", ")
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
                    address: placed(sysfs::hex(&folder.join("addr"))?, offset),
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
        let mut all = devices(root);
        let fitting: Vec<usize> = (0..all.len()).filter(|&at| all[at].names().contains(name)).collect();
        let list = |places: &mut dyn Iterator<Item = usize>| {
            let each =
                places.map(|at| format!("{} (uio{})", Source::Uio(all[at].best_name(&all)), all[at].number));
            each.collect::<Vec<_>>().join(", ")
        };
        match fitting[..] {
            [at] => Ok(all.swap_remove(at)),
            [] if all.is_empty() => Err(SourceError::new(source, "no such UIO device").remedy(
                "there is no UIO device at all: load uio_pdrv_genirq (device tree) or uio_pci_generic (PCI) and bind the device to it",
            )),
            [] => {
                let there = format!("there are {}", list(&mut (0..all.len())));
                Err(SourceError::new(source, "no such UIO device").remedy(there))
            }
            _ => Err(SourceError::new(source, "several UIO devices have this name")
                .remedy(format!("choose one of {}", list(&mut fitting.into_iter())))),
        }
    }

    /// What it may be called, the best first: by name, by the PCI function behind it, by name and address, which are
    /// the same after a reboot, and by number.
    pub fn names(&self) -> Vec<UioName> {
        let mut names = Vec::with_capacity(4);
        if !self.name.is_empty() {
            names.push(UioName::Name(self.name.clone()));
        }
        let function = sysfs::link_name(&self.device()).and_then(|name| PciAddress::parse(&name));
        names.extend(function.map(UioName::Bus));
        let first = self.maps.iter().find(|map| map.index == 0).and_then(|map| map.address);
        names.extend(first.map(|address| UioName::At(self.name.clone(), address)));
        names.push(UioName::Number(self.number));
        names
    }

    /// The best name that no other has.
    pub fn best_name(&self, all: &[Uio]) -> UioName {
        let others = || all.iter().filter(|other| other.number != self.number);
        let alone = |name: &UioName| !others().any(|other| other.names().contains(name));
        self.names().into_iter().find(alone).unwrap_or(UioName::Number(self.number))
    }

    /// Its folder in sysfs.
    pub fn folder(&self) -> &Path {
        &self.sysfs
    }

    /// Its file in /dev.
    pub fn node(&self) -> &Path {
        &self.node
    }

    /// What it is made of in sysfs: a platform device, or a PCI function.
    pub fn device(&self) -> PathBuf {
        self.sysfs.join("device")
    }

    pub fn span(&self, attached: &Attached, region: &map::Region) -> Result<Span, SourceError> {
        let map = match self.map_of(attached, region)? {
            Place::Map(map) => map,
            Place::Bar(index) => return pci::span(&self.device(), attached, region, index),
        };
        if self.is_bar(map) {
            attached.check_card()?;
        }
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
            physical: map.address.and_then(|address| address.checked_add(region.offset)),
            whole_pages: false,
        })
    }

    /// Whether the map is memory of the card that the device is on.
    fn is_bar(&self, map: &Map) -> bool {
        let Some(address) = map.address else { return false };
        pci::bars(&self.device()).any(|(_, bar)| (bar.start..bar.start + bar.size).contains(&address))
    }

    fn map_of(&self, attached: &Attached, region: &map::Region) -> Result<Place<'_>, SourceError> {
        let bar = region.pci_bar.filter(|_| region.uio_map.is_none());
        let bar = bar.and_then(|index| Some((index, pci::bar(&self.device(), index)?)));
        let named = |map: &&Map| match (&region.uio_map, bar) {
            (Some(UioMap::Index(index)), _) => map.index == *index,
            (Some(UioMap::Name(name)), _) => map.name == *name,
            // uio_pci_generic lists the memory BARs it knows in turn: only the address tells which is which.
            (None, Some((_, bar))) => map.address == Some(bar.start),
            (None, None) => map.index == 0,
        };
        let found: Vec<&Map> = self.maps.iter().filter(named).collect();
        match (&found[..], bar) {
            ([map], _) => return Ok(Place::Map(map)),
            ([], Some((index, _))) => return Ok(Place::Bar(index)),
            _ => {}
        }
        let wanted = match (&region.uio_map, region.pci_bar) {
            (Some(UioMap::Index(index)), _) => format!("UIO map {index}"),
            (Some(UioMap::Name(name)), _) => format!("UIO map {name:?}"),
            (None, Some(bar)) => format!("PCI BAR {bar}"),
            (None, None) => "UIO map 0".into(),
        };
        let wrong = |problem: &str| {
            SourceError::new(attached, format!("region {} lies in {wanted}, {problem}", region.name))
        };
        if !found.is_empty() {
            return Err(wrong(&format!("and uio{} has several of that name", self.number))
                .remedy(format!("say which by number, as in uio-map = 0: {}", list(&found))));
        }
        let all: Vec<&Map> = self.maps.iter().collect();
        Err(wrong(&format!("which uio{} has not", self.number)).remedy(match all.is_empty() {
            true => "it has no maps".to_string(),
            false => format!("it has the maps {}", list(&all)),
        }))
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

    pub fn explain(
        &self,
        root: &Path,
        step: &Step,
        region: &map::Region,
        span: &Span,
        error: &io::Error,
    ) -> Known {
        if let (Some(index), true) = (region.pci_bar, span.path != self.node) {
            return pci::explain(&self.device(), root, step, index, span, error);
        }
        match (step, error.raw_os_error()?) {
            (Step::Open, _) => self.explain_open(error),
            (Step::Map, libc::EINVAL) if span.skip % page_size() as u64 != 0 || self.has_small_map() => Some((
                "the kernel refused to map it (EINVAL): its driver gives a map that is no whole number of pages, which some kernels do not map".into(),
                Some(match sysfs::link_name(&self.device()).and_then(|name| PciAddress::parse(&name)) {
                    Some(address) => format!(
                        "open the card itself, which maps such BARs: {}",
                        Source::Pci(PciName::Address(address))
                    ),
                    None => "round its reg up to a page in the device tree".into(),
                }),
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
