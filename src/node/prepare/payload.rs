//! What a dispatch handed over, as a file in the task's `local/`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Component, Path};

use model::{interpolate, lookup};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Preparing, Unprepared};
use crate::dirs::{Dirs, Place};

/// The largest payload that is written, in bytes.
const MAX_PAYLOAD: usize = 16 << 10;

/// Folders that the file may lie in.
const MAX_DEPTH: usize = 16;

/// Writes the payload where the task wants it. A task without `dispatch_payload`, or a job that was not dispatched, has
/// none.
pub(super) async fn write(task: &Preparing<'_>) -> Result<(), Unprepared> {
    let Some(wanted) = &task.task.dispatch_payload else { return Ok(()) };
    if task.payload.is_empty() || wanted.file.is_empty() {
        return Ok(());
    }
    let node = &task.shared.options.node;
    let file = interpolate(&wanted.file, |reference| lookup(task.env, node, reference));
    let (dirs, alloc) = (task.shared.dirs.clone(), task.alloc.id);
    let (name, payload) = (task.task.name.clone(), task.payload.to_vec());
    let written = tokio::task::spawn_blocking(move || {
        put(&dirs, alloc, &name, &file, &payload)
            .map_err(|problem| format!("the payload cannot be written to `{file}`: {problem}"))
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) => Err(Unprepared::setup(problem, false)),
        Err(_) => Err(Unprepared::setup("the payload could not be written", true)),
    }
}

fn put(
    dirs: &Dirs,
    alloc: model::AllocId,
    task: &str,
    file: &str,
    payload: &[u8],
) -> Result<(), String> {
    if payload.len() > MAX_PAYLOAD {
        return Err(format!("it has {} bytes; up to {MAX_PAYLOAD} are taken", payload.len()));
    }
    let mut parts = Vec::new();
    for part in Path::new(file).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or("it is not UTF-8")?),
            Component::CurDir => {}
            _ => return Err("the path must stay in the task's `local`".to_owned()),
        }
    }
    let Some((last, folders)) = parts.split_last() else {
        return Err("the path names no file".to_owned());
    };
    if folders.len() > MAX_DEPTH {
        return Err(format!("it lies in more than {MAX_DEPTH} folders"));
    }
    let mut place = dirs.enter(alloc, &[task, "local"]).map_err(|error| error.to_string())?;
    for folder in folders {
        place = place.child(folder, 0o755).map_err(|error| error.to_string())?;
    }
    replace(&place, last, payload)
}

/// Puts a file in the place of whatever is there: a link or a pipe that a task left is not written through.
fn replace(place: &Place, name: &str, bytes: &[u8]) -> Result<(), String> {
    const FRESH: &str = ".payload.new";
    place.unlink(FRESH, false).map_err(|error| error.to_string())?;
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(0o644);
    let fd = openat(&place.fd, FRESH, flags, mode).map_err(|errno| errno.to_string())?;
    File::from(fd).write_all(bytes).map_err(|error| error.to_string())?;
    place.move_to(FRESH.as_ref(), place, name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use model::AllocId;

    use super::*;

    #[test]
    fn a_payload_stays_in_local_whatever_lies_there() {
        let data = tempfile::tempdir().expect("a directory");
        let outside = data.path().join("outside");
        std::fs::write(&outside, "mine").expect("a file");
        let (dirs, alloc) = (Dirs::new(data.path(), false), AllocId::default());
        let made = dirs.make(alloc, "web", crate::dirs::Room::default()).expect("directories");
        let write = |file: &str, payload: &[u8]| put(&dirs, alloc, "web", file, payload);
        write("in/it.json", b"{}").expect("written");
        assert_eq!(std::fs::read(made.local.join("in/it.json")).expect("read"), b"{}");
        symlink(&outside, made.local.join("link")).expect("a link");
        write("link", b"new").expect("written");
        assert_eq!(std::fs::read(made.local.join("link")).expect("read"), b"new");
        symlink(data.path(), made.local.join("out")).expect("a link");
        for file in ["", ".", "..", "../x", "/etc/x", "a/../../x", "out/x"] {
            assert!(write(file, b"x").is_err(), "{file}");
        }
        assert!(write("big", &vec![0; MAX_PAYLOAD + 1]).is_err());
        assert_eq!(std::fs::read_to_string(outside).expect("read"), "mine");
        assert_eq!(std::fs::read_dir(data.path()).expect("a list").count(), 2);
    }
}
