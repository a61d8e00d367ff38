//! What is here: UIO devices and PCI functions, and which maps of the library fit each.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::pci::BarKind;
use super::{Presence, Source, pci, sysfs, uio};
use crate::map;

/// A device that could be opened.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The source that opens it, and will after a reboot.
    pub source: String,
    /// Every source that may mean it, the best first. Some may mean others as well.
    pub names: Vec<String>,
    /// Where the system has it: its file in /dev, or its folder in sysfs.
    pub path: String,
    /// Its name: of the UIO device, or the PCI vendor and device ids.
    pub name: String,
    /// The kernel driver that has it, where one has.
    pub driver: Option<String>,
    /// What it says it is: device-tree strings, UIO name, PCI ids as `pci:10ee:7021`.
    pub compatible: Vec<String>,
    /// Its memory.
    pub maps: Vec<FoundMap>,
    /// The PCI function, where it is one or lies on one.
    pub card: Option<FoundCard>,
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
    /// The physical address, where there is one already.
    pub address: Option<u64>,
    /// In bytes.
    pub size: u64,
}

/// What a PCI function is like at the moment.
#[derive(Clone, Debug, Serialize)]
pub struct FoundCard {
    /// Its folder in sysfs.
    pub folder: String,
    /// Whether it answers to memory accesses; None where its configuration space cannot be read.
    pub answers: Option<bool>,
    /// Why it does not.
    pub problem: Option<String>,
    /// What to do about that.
    pub remedy: Option<String>,
    /// BARs that cannot be mapped.
    pub unmappable: Vec<FoundBar>,
}

/// A BAR that cannot be mapped.
#[derive(Clone, Debug, Serialize)]
pub struct FoundBar {
    /// 0 to 5.
    pub index: u8,
    /// `I/O ports`, or `no address`.
    pub reason: &'static str,
    /// In bytes.
    pub size: u64,
}

/// Looks at sysfs under `root`. Opens no device, and touches none but the configuration space of PCI functions that are awake.
pub fn scan(root: &Path) -> Vec<Found> {
    let devices = uio::devices(root);
    let mut all: Vec<Found> = devices.iter().map(|uio| found_uio(uio, &devices)).collect();
    all.extend(pci::functions(root).iter().map(found_pci));
    let known: Vec<(String, Vec<String>)> = map::builtin_names()
        .filter_map(|name| Some((name.to_string(), map::builtin(name).ok()?.map.compatible.clone())))
        .collect();
    for found in &mut all {
        found.fits = fitting(&found.compatible, &known);
    }
    all
}

fn found_uio(uio: &uio::Uio, all: &[uio::Uio]) -> Found {
    let device = uio.device();
    let mut compatible = device_tree(&device.join("of_node/compatible"));
    compatible.push(uio.name.clone());
    compatible.extend(pci::ids(&device).map(ids_text));
    Found {
        source: Source::Uio(uio.best_name(all)).to_string(),
        names: uio.names().into_iter().map(|name| Source::Uio(name).to_string()).collect(),
        path: uio.node().display().to_string(),
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
        card: found_card(&device),
        fits: Vec::new(),
    }
}

fn found_pci(pci: &pci::Pci) -> Found {
    let folder = pci.folder();
    let bars = pci::bars(folder).filter(|(_, bar)| bar.kind == BarKind::Memory);
    let maps = bars.map(|(index, bar)| FoundMap {
        index: index.into(),
        name: format!("BAR{index}"),
        address: Some(bar.start),
        size: bar.size,
    });
    let names = pci.names().map(|name| Source::Pci(name).to_string());
    Found {
        source: names[0].clone(),
        names: names.into(),
        path: folder.display().to_string(),
        name: format!("{:04x}:{:04x}", pci.vendor, pci.device),
        driver: sysfs::link_name(&folder.join("driver")),
        compatible: vec![ids_text((pci.vendor, pci.device))],
        maps: maps.collect(),
        card: found_card(folder),
        fits: Vec::new(),
    }
}

fn found_card(folder: &Path) -> Option<FoundCard> {
    pci::ids(folder)?;
    let presence = Presence::keep(None, folder);
    let absence = presence.as_ref().and_then(|presence| Some(presence.explain(presence.ask_card()?)));
    let answers = presence.is_some().then_some(absence.is_none());
    let (problem, remedy) = absence.unzip();
    let unmappable = pci::bars(folder).filter_map(|(index, bar)| {
        let reason = match bar.kind {
            BarKind::Memory => return None,
            BarKind::Ports => "I/O ports",
            BarKind::Unassigned => "no address",
        };
        Some(FoundBar { index, reason, size: bar.size })
    });
    Some(FoundCard {
        folder: folder.display().to_string(),
        answers,
        problem,
        remedy,
        unmappable: unmappable.collect(),
    })
}

fn ids_text((vendor, device): (u16, u16)) -> String {
    format!("pci:{vendor:04x}:{device:04x}")
}

/// The strings of a device-tree property, each ended by a NUL.
fn device_tree(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let strings = bytes.split(|&byte| byte == 0).filter(|text| !text.is_empty());
    strings.map(|text| String::from_utf8_lossy(text).into_owned()).collect()
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
