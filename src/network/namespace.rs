//! Network namespaces, kept by a file that they are mounted on.
//!
//! The agent never enters one. A child of its own binary makes the namespace, brings loopback up, mounts it and ends.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::statfs;

use crate::keep::Turn;
use crate::{NetworkError, interface, program};

/// The first argument that makes the binary the child that makes a namespace.
pub const NAMESPACE_ARG: &str = "__network-namespace";

/// How long the child may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The most mounts on one file that are taken away: an agent that was killed could have left one on top of another.
const MAX_MOUNTS: usize = 16;

/// The child's `main`, with the arguments after [`NAMESPACE_ARG`]: the file to mount the namespace on. To be called
/// before any thread is started.
pub fn namespace_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(path) = args.into_iter().next() else {
        eprintln!("the file for the namespace is missing");
        return ExitCode::FAILURE;
    };
    let made = unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|errno| {
            format!("no network namespace can be made: {errno}; the agent must run as root")
        })
        .and_then(|()| {
            interface::set_up("lo", true)
                .map_err(|error| format!("loopback cannot be brought up: {error}"))
        })
        .and_then(|()| {
            mount(
                Some("/proc/self/ns/net"),
                Path::new(&path),
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
            .map_err(|errno| format!("the namespace cannot be mounted: {errno}"))
        });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a file stands for a namespace.
pub(crate) fn is_there(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Makes a namespace at `path`, which was not there.
pub(crate) fn make(turn: &mut Turn, binary: &Path, path: &Path) -> Result<(), NetworkError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| NetworkError::system("make", folder, error))?;
    }
    fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o444)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| NetworkError::system("make", path, error))?;
    let mut child = Command::new(binary);
    child
        .arg0("herder")
        .arg(NAMESPACE_ARG)
        .arg(path)
        .env_clear()
        .stdin(Stdio::from(turn.input(b"")?));
    let doing = format!("making the network namespace {}", path.display());
    let output = program::run(&mut child, &doing, LIMIT)?;
    if output.status.success() && is_there(path) {
        return Ok(());
    }
    Err(NetworkError::Failed { doing, problem: program::complaint(&output) })
}

/// Removes a namespace; whatever still runs in it keeps it alive, unseen, until it ends.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    for _ in 0..MAX_MOUNTS {
        match umount2(path, MntFlags::MNT_DETACH.union(MntFlags::UMOUNT_NOFOLLOW)) {
            Ok(()) => {}
            // Nothing is mounted there, or nothing is there.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(NetworkError::system("unmount", path, errno)),
        }
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(NetworkError::system("remove", path, error)),
    }
}
