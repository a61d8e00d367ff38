//! `file:`: a file, from its start.

use std::io;
use std::path::{Path, PathBuf};

use nix::libc;

use super::Span;
use crate::map;

#[derive(Debug)]
pub(super) struct Plain {
    path: PathBuf,
}

impl Plain {
    pub fn new(path: &Path) -> Plain {
        Plain { path: path.into() }
    }

    pub fn span(&self, region: &map::Region) -> Span {
        Span {
            path: self.path.clone(),
            file: None,
            flags: 0,
            offset: region.offset,
            skip: 0,
            physical: None,
            whole_pages: false,
        }
    }
}

/// A problem and its remedy, where the error is one we know.
pub(super) type Known = Option<(String, Option<String>)>;

pub(super) fn explain(span: &Span, region: &map::Region, error: &io::Error) -> Known {
    let path = span.path.display();
    match error.raw_os_error()? {
        libc::ENOENT => Some((format!("there is no file {path}"), None)),
        libc::EISDIR => Some((format!("{path} is a directory, not a file"), None)),
        libc::EACCES => Some((
            format!("no permission for {path}"),
            Some(match region.access.writable() {
                true => format!("region {} needs reading and writing", region.name),
                false => format!("region {} needs reading", region.name),
            }),
        )),
        libc::ENODEV => Some((format!("{path} is of a kind that cannot be mapped"), None)),
        _ => None,
    }
}
