//! What is here: UIO devices and PCI functions, and which maps of the library fit each.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{pci, sysfs, uio};
use crate::map;

/// A device that could be opened.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The source that opens it.
    pub source: String,
    /// Its name: of the UIO device, or the PCI vendor and device ids.
    pub name: String,
    /// The kernel driver that has it, where one has.
    pub driver: Option<String>,
    /// What it says it is: device-tree strings, UIO name, PCI ids as `pci:10ee:7021`.
    pub compatible: Vec<String>,
    /// Its memory.
    pub maps: Vec<FoundMap>,
    /// The maps of the library that fit, best first.
    pub fits: Vec<String>,
}

/// A span of memory of a found device.
#[derive(Clone, Debug, Serialize)]
pub struct FoundMap {
    /// The index of the UIO map or PCI BAR.
    pub index: u32,
    /// The name of the UIO map; `BAR0` and so on.
    pub name: String,
    /// The physical address.
    pub address: u64,
    /// In bytes.
    pub size: u64,
}

/// Looks at sysfs under `root`. Opens and touches no device.
pub fn scan(root: &Path) -> Vec<Found> {
    let mut all: Vec<Found> = uio::devices(root).iter().map(found_uio).collect();
    all.extend(pci::functions(root).iter().map(found_pci));
    let known: Vec<(String, Vec<String>)> = map::builtin_names()
        .filter_map(|name| Some((name.to_string(), map::builtin(name).ok()?.map.compatible.clone())))
        .collect();
    for found in &mut all {
        found.fits = fitting(&found.compatible, &known);
    }
    all
}

fn found_uio(uio: &uio::Uio) -> Found {
    let device = uio.device();
    let mut compatible = device_tree(&device.join("of_node/compatible"));
    compatible.push(uio.name.clone());
    compatible.extend(pci_ids(&device));
    Found {
        source: format!("uio:{}", uio.number),
        name: uio.name.clone(),
        driver: sysfs::link_name(&device.join("driver")),
        compatible,
        maps: uio
            .maps
            .iter()
            .map(|map| FoundMap {
                index: map.index,
                name: map.name.clone(),
                address: map.address,
                size: map.size,
            })
            .collect(),
        fits: Vec::new(),
    }
}

fn found_pci(pci: &pci::Pci) -> Found {
    let bars = (0..6u8).filter_map(|index| {
        let bar = pci::bar(pci.folder(), index).filter(|bar| bar.memory)?;
        Some(FoundMap {
            index: index.into(),
            name: format!("BAR{index}"),
            address: bar.start,
            size: bar.size,
        })
    });
    Found {
        source: format!("pci:{}", pci.address),
        name: format!("{:04x}:{:04x}", pci.vendor, pci.device),
        driver: sysfs::link_name(&pci.folder().join("driver")),
        compatible: vec![format!("pci:{:04x}:{:04x}", pci.vendor, pci.device)],
        maps: bars.collect(),
        fits: Vec::new(),
    }
}

/// The strings of a device-tree property, each ended by a NUL.
fn device_tree(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let strings = bytes.split(|&byte| byte == 0).filter(|text| !text.is_empty());
    strings.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

fn pci_ids(device: &Path) -> Option<String> {
    let id = |name| sysfs::hex(&device.join(name));
    Some(format!("pci:{:04x}:{:04x}", id("vendor")?, id("device")?))
}

/// The maps that know one of these strings; a device's first strings are its most exact.
fn fitting(compatible: &[String], known: &[(String, Vec<String>)]) -> Vec<String> {
    let mut fits = Vec::new();
    for string in compatible {
        for (name, strings) in known {
            if strings.contains(string) && !fits.contains(name) {
                fits.push(name.clone());
            }
        }
    }
    fits
}
