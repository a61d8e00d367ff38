//! `mem:` and `ram:`: physical memory through /dev/mem.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::file::Known;
use super::{Attached, Span, Step, sysfs};
use crate::error::SourceError;
use crate::map;

/// What /proc/iomem calls it.
const RAM: &str = "System RAM";

#[derive(Debug)]
pub(super) struct Mem {
    base: u64,
    /// RAM was asked for by name.
    ram: bool,
    root: PathBuf,
}

impl Mem {
    pub fn new(base: u64, ram: bool, root: &Path) -> Mem {
        Mem { base, ram, root: root.into() }
    }

    pub fn span(&self, attached: &Attached, region: &map::Region) -> Result<Span, SourceError> {
        let start = self.base.checked_add(region.offset);
        let Some(start) = start.filter(|start| start.checked_add(region.size).is_some()) else {
            return Err(SourceError::new(
                attached,
                format!("region {} would end beyond the 64-bit address space", region.name),
            ));
        };
        let last = start + (region.size - 1);
        if !self.ram && self.resources(start, last).iter().any(|(_, name)| name == RAM) {
            return Err(SourceError::new(
                attached,
                format!("{start:#x} to {last:#x} is RAM, where a write may bring the system down"),
            )
            .remedy(format!("is the address right? If RAM is meant, say so: ram:{:#x}", self.base)));
        }
        Ok(Span {
            path: self.root.join("dev/mem"),
            file: None,
            // Without O_SYNC the kernel may map the pages cached.
            flags: libc::O_SYNC,
            offset: start,
            skip: 0,
            physical: Some(start),
            whole_pages: false,
        })
    }

    pub fn explain(&self, step: &Step, span: &Span, region: &map::Region, error: &io::Error) -> Known {
        let path = span.path.display();
        let (start, last) = (span.offset, span.offset + (region.size - 1));
        let known = |problem: String, remedy: &str| Some((problem, Some(remedy.to_string())));
        match (step, error.raw_os_error()?) {
            (Step::Open, libc::ENOENT) => known(
                format!("there is no {path}"),
                "the kernel has no CONFIG_DEVMEM, or this is a container: use uio: or pci:",
            ),
            (Step::Open, libc::EACCES) => known(
                format!("no permission for {path}"),
                "run as root, or better: bind the device to a UIO driver and give your group its /dev/uioN by a udev rule",
            ),
            (Step::Open, libc::EPERM) => match self.lockdown() {
                Some(mode) => known(
                    format!("the kernel is locked down ({mode}): {path} cannot be opened"),
                    "use uio:, which lockdown allows, or switch lockdown off (it comes with secure boot)",
                ),
                None => known(
                    format!("opening {path} is not permitted"),
                    "CAP_SYS_RAWIO is missing: run as root, outside a container",
                ),
            },
            (Step::Map, libc::EPERM) => match self.owner(start, last) {
                Some(owner) if owner == RAM => known(
                    format!(
                        "{start:#x} to {last:#x} is RAM, which the kernel keeps from /dev/mem (STRICT_DEVMEM)"
                    ),
                    "is the address right?",
                ),
                Some(owner) => known(
                    format!(
                        "{start:#x} to {last:#x} is claimed by {owner:?}, and the kernel keeps claimed ranges from /dev/mem (IO_STRICT_DEVMEM)"
                    ),
                    "unbind that driver and use uio:, or boot with iomem=relaxed",
                ),
                None => known(
                    format!(
                        "the kernel keeps {start:#x} to {last:#x} from /dev/mem: it is RAM (STRICT_DEVMEM), or a driver claims it (IO_STRICT_DEVMEM)"
                    ),
                    "look at /proc/iomem as root; use uio:, or boot with iomem=relaxed",
                ),
            },
            (Step::Map, libc::EINVAL) => known(
                format!("{start:#x} to {last:#x} is beyond the physical addresses of this machine"),
                "is the address right?",
            ),
            _ => None,
        }
    }

    /// The lockdown mode in force, if any.
    fn lockdown(&self) -> Option<String> {
        let text = sysfs::text(&self.root.join("sys/kernel/security/lockdown"))?;
        let mode = text.split_once('[')?.1.split_once(']')?.0;
        (mode != "none").then(|| mode.to_string())
    }

    /// The innermost resource that touches the range.
    fn owner(&self, start: u64, last: u64) -> Option<String> {
        self.resources(start, last).into_iter().max_by_key(|(depth, _)| *depth).map(|(_, name)| name)
    }

    /// What /proc/iomem has in the range, each with its depth. Only root sees addresses there.
    fn resources(&self, start: u64, last: u64) -> Vec<(usize, String)> {
        let iomem = fs::read_to_string(self.root.join("proc/iomem")).unwrap_or_default();
        let mut found = Vec::new();
        for line in iomem.lines() {
            let depth = line.len() - line.trim_start().len();
            let Some((range, name)) = line.trim().split_once(" : ") else { continue };
            let Some((from, to)) = range.split_once('-') else { continue };
            let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else {
                continue;
            };
            if from <= last && start <= to && to != 0 {
                found.push((depth, name.to_string()));
            }
        }
        found
    }
}
