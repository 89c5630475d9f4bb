//! Finding, reading and replacing the files that are formatted.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// More than a file may have, so that the formatter is the one to say that it is too large.
const FILE_LIMIT: u64 = 64 << 20;
/// How deep folders may lie in folders.
const DEPTH_LIMIT: usize = 64;
/// How many files are formatted at once.
const COUNT_LIMIT: usize = 100_000;

/// A file to format, or `-`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Whether somebody gave its name, and no folder's.
    pub(super) is_named: bool,
}

/// The files that a path stands for: itself, or those in the folder. In folders, names that begin with a dot and
/// symbolic links are passed over.
pub(super) fn find(path: &Path, recursive: bool) -> anyhow::Result<Vec<Found>> {
    if path != Path::new("-") {
        let data =
            fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if data.is_dir() {
            let mut found = Vec::new();
            // Names are shown as one would write them.
            let folder = if path == Path::new(".") { Path::new("") } else { path };
            search(folder, recursive, 0, &mut found)?;
            return Ok(found);
        }
    }
    Ok(vec![Found { path: path.to_owned(), is_named: true }])
}

fn search(
    folder: &Path,
    recursive: bool,
    depth: usize,
    found: &mut Vec<Found>,
) -> anyhow::Result<()> {
    if depth > DEPTH_LIMIT {
        bail!("{} lies more than {DEPTH_LIMIT} folders deep", folder.display());
    }
    let place = if folder == Path::new("") { Path::new(".") } else { folder };
    let reading = || format!("{} cannot be read", place.display());
    let mut entries = fs::read_dir(place)
        .with_context(reading)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(reading)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() && recursive {
            search(&folder.join(name), recursive, depth + 1, found)?;
        } else if kind.is_file() && (name.ends_with(".nomad") || name.ends_with(".hcl")) {
            if found.len() >= COUNT_LIMIT {
                bail!("there are more than {COUNT_LIMIT} files here; name folders within");
            }
            found.push(Found { path: folder.join(name), is_named: false });
        }
    }
    Ok(())
}

/// The content of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    regular(path)?;
    let mut file =
        File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    read_all(&mut file).with_context(|| format!("{} cannot be read", path.display()))
}

/// All that comes, up to a limit that no file of a fair size reaches.
pub(super) fn read_all(from: &mut dyn Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_LIMIT).read_to_end(&mut bytes).context("reading")?;
    Ok(bytes)
}

/// Puts a text in place of a file: either all of it is there afterwards, or the file is as before.
pub(super) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let data = regular(path)?;
    if data.permissions().readonly() {
        bail!("{} is read-only", path.display());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Not a name that anything takes for a job file.
    let beside = path.with_file_name(format!(".{name}.herder-fmt-{}", std::process::id()));
    let result = write(&beside, &data, text)
        .and_then(|()| fs::rename(&beside, path))
        .with_context(|| format!("{} cannot be written", path.display()));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

fn write(path: &Path, like: &Metadata, text: &str) -> std::io::Result<()> {
    // For nobody else until it has the mode of the file that it replaces.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
        // Only root may give files away. For others, the file becomes their own, as with editors.
        let _ = std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid()));
    }
    file.set_permissions(like.permissions())?;
    file.sync_all()
}

fn regular(path: &Path) -> anyhow::Result<Metadata> {
    let data =
        fs::symlink_metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    if data.is_symlink() {
        bail!("{} is a symbolic link; name the file that it points to", path.display());
    }
    if !data.is_file() {
        bail!("{} is not a file", path.display());
    }
    Ok(data)
}
