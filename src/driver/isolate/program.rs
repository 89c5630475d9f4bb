//! Finds a task's program in its own root, where links lead to other places than on the node.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};

use super::root;
use crate::shim::{CommandSpec, Failure};

/// The path, from the task's root, of what its command names: in the task's own directories first, then in its PATH.
pub(crate) fn resolve(holder: i32, spec: &CommandSpec) -> Result<PathBuf, Failure> {
    let root = root::of_process(holder)
        .map_err(|error| Failure::system("look into the task's root", &error))?;
    let command = &spec.command;
    let path = spec.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let mut places = vec![PathBuf::from("/local"), PathBuf::from("/")];
    if command.contains('/') {
        places.push(spec.cwd.clone());
    } else {
        places.extend(std::env::split_paths(path).filter(|dir| dir.is_absolute()));
    }
    let mut refused = None;
    for candidate in places.iter().map(|dir| dir.join(command)) {
        match runs(&root, &candidate) {
            Some(true) => return Ok(candidate),
            Some(false) => refused = refused.or(Some(candidate)),
            None => {}
        }
    }
    Err(Failure::never(match refused {
        Some(path) => format!(
            "command `{command}` is not executable in the task's root: {}; run `chmod +x` on it",
            path.display()
        ),
        None if command.contains('/') => {
            format!("command `{command}` does not exist in the task's root")
        }
        None => format!("command `{command}` does not exist in the task's PATH ({path})"),
    }))
}

/// Whether a path is a program; `None` if nothing is there.
fn runs(root: &OwnedFd, path: &Path) -> Option<bool> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(root, path, how).ok()?;
    let found = fstat(&file).ok()?;
    let regular = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    Some(regular && found.st_mode & 0o111 != 0)
}
