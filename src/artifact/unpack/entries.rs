//! The entries of a tar archive. The library reads headers; long names and links are put together here, with limits, and
//! what is made of an entry is the [`Tree`]'s to say.

use std::io::Read;

use tar::{Archive, EntryType, PaxExtensions};

use crate::FetchError;
use crate::tree::{Tree, refused};

/// The largest header extension, in bytes. It holds a name and a link's target, and whatever else somebody put there.
const MAX_EXTENSION: u64 = 64 << 10;

/// What the entries before a file said about it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    sparse: bool,
    size: Option<u64>,
}

/// Reads all of them.
pub(super) fn read(mut input: impl Read, tree: &mut Tree) -> Result<(), FetchError> {
    read_entries(&mut input, tree)?;
    // What packs the archive has its checksum at the end.
    std::io::copy(&mut input, &mut std::io::sink()).map(drop).map_err(|error| broken(&error))
}

fn read_entries(input: &mut impl Read, tree: &mut Tree) -> Result<(), FetchError> {
    let mut archive = Archive::new(input);
    let entries = archive.entries().map_err(|error| broken(&error))?.raw(true);
    let mut said = Extension::default();
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(&error))?;
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                said.name = Some(text(&mut entry)?);
                continue;
            }
            EntryType::GNULongLink => {
                said.target = Some(text(&mut entry)?);
                continue;
            }
            EntryType::XHeader => {
                extension(&extended(&mut entry)?, &mut said)?;
                continue;
            }
            // About all that follow: times and comments, as `git archive` writes. Never a name.
            EntryType::XGlobalHeader => continue,
            _ => {}
        }
        let Extension { name, target, sparse, size } = std::mem::take(&mut said);
        let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let mode = entry.header().mode().unwrap_or(0o644);
        if sparse {
            return Err(refused(
                &name,
                "is a sparse file, which is not unpacked; pack it without --sparse",
            ));
        }
        // The library does not see it in raw entries, so the entry would be cut at the wrong place.
        if size.is_some_and(|size| entry.header().entry_size().ok() != Some(size)) {
            return Err(refused(
                &name,
                "has 8 GiB or more, in the pax format, which is not unpacked",
            ));
        }
        let target = || {
            target
                .or_else(|| entry.link_name_bytes().map(|name| name.into_owned()))
                .unwrap_or_default()
        };
        match kind {
            // A name that ends with a slash is a folder in the oldest archives.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => {
                tree.folder(&name, mode)?
            }
            EntryType::Regular | EntryType::Continuous => tree.file(&name, mode, &mut entry)?,
            EntryType::Directory => tree.folder(&name, mode)?,
            EntryType::Symlink => {
                let target = target();
                tree.link(&name, &target)?;
            }
            EntryType::Link => {
                let target = target();
                tree.hard_link(&name, &target)?;
            }
            EntryType::Char | EntryType::Block => return Err(refused(&name, "is a device")),
            EntryType::Fifo => return Err(refused(&name, "is a named pipe")),
            EntryType::GNUSparse => {
                return Err(refused(
                    &name,
                    "is a sparse file, which is not unpacked; pack it without --sparse",
                ));
            }
            other => {
                let words = format!("is of an unknown type ({:#04x})", other.as_byte());
                return Err(refused(&name, &words));
            }
        }
    }
    Ok(())
}

fn extended(entry: &mut impl Read) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    entry.take(MAX_EXTENSION + 1).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
    if bytes.len() as u64 > MAX_EXTENSION {
        return Err(FetchError::refused(format!(
            "the archive has a name or header longer than {MAX_EXTENSION} bytes"
        )));
    }
    Ok(bytes)
}

/// A GNU long name ends with a zero.
fn text(entry: &mut impl Read) -> Result<Vec<u8>, FetchError> {
    let mut bytes = extended(entry)?;
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}

fn extension(bytes: &[u8], said: &mut Extension) -> Result<(), FetchError> {
    for record in PaxExtensions::new(bytes) {
        let record = record.map_err(|error| broken(&error))?;
        match record.key_bytes() {
            b"path" => said.name = Some(record.value_bytes().to_vec()),
            b"linkpath" => said.target = Some(record.value_bytes().to_vec()),
            b"size" => {
                said.size =
                    record.value().ok().and_then(|size| size.parse().ok()).or(Some(u64::MAX));
            }
            key if key.starts_with(b"GNU.sparse") => said.sparse = true,
            _ => {}
        }
    }
    Ok(())
}

fn broken(error: &std::io::Error) -> FetchError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FetchError>()) {
        Some(inner) => inner.clone(),
        None => FetchError::refused(format!("the tar archive cannot be read: {error}")),
    }
}
