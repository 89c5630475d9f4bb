//! The root that a task sees: its own directory, what the node lends it, and the kernel's files. Runs in the holder, in
//! a mount namespace of its own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use super::place::{self, Shape, name_of};
use super::{Bind, Isolation};
use crate::shim::Failure;

/// Devices that every program may expect.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files below `/proc` that tell of the node, or change it.
const MASKED: [&str; 6] =
    ["kcore", "keys", "timer_list", "sched_debug", "latency_stats", "kallsyms"];

/// Directories below `/proc` and `/sys` that tell of the node's hardware.
const EMPTIED: [&str; 3] = ["proc/acpi", "proc/scsi", "sys/firmware"];

/// What below `/proc` is the node's to set.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const NOTHING: Option<&str> = None;

/// Makes the root and enters it; the node's own is out of reach afterwards.
pub(super) fn build(isolation: &Isolation) -> Result<(), Failure> {
    let failed = |doing: &str, error: nix::Error| Failure::system(doing, &error.into());
    // What is mounted here is not seen on the node. What the node mounts is seen here, until a mount is made private.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING)
        .map_err(|error| failed("leave the node's mounts", error))?;
    let at = isolation.root.as_path();
    mount(Some(at), at, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .map_err(|error| failed("mount the task's directory", error))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let root = open(at, flags, Mode::empty())
        .map_err(|error| failed("open the task's directory", error))?;
    let own = Attributes { private: true, ..Attributes::default() };
    set(root.as_fd(), own)
        .map_err(|error| Failure::system("close the task's directory", &error))?;
    let root = root.as_fd();
    for one in &isolation.binds {
        bind(root, one).map_err(|error| {
            let doing = format!("mount {} at {}", one.source.display(), one.target.display());
            Failure::system(&doing, &error)
        })?;
    }
    devices(root, &isolation.devices)
        .map_err(|error| Failure::system("make the task's /dev", &error))?;
    kernel(root).map_err(|error| Failure::system("mount the task's /proc and /sys", &error))?;
    enter(root).map_err(|error| failed("change to the task's root", error))
}

fn bind(root: BorrowedFd<'_>, bind: &Bind) -> io::Result<()> {
    let source = match open(&bind.source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(source) => source,
        Err(nix::Error::ENOENT | nix::Error::ENOTDIR) if bind.optional => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    if bind.over {
        let target = place::open_through_links(root, &bind.target)?;
        mount(Some(&name_of(&source)), &name_of(&target), NOTHING, flags, NOTHING)?;
        let mounted = place::open_through_links(root, &bind.target)?;
        return set(mounted.as_fd(), Attributes { read_only: bind.read_only, private: true });
    }
    let directory = std::fs::metadata(name_of(&source))?.is_dir();
    let shape = if directory { Shape::Directory } else { Shape::File };
    let target = place::make(root, &bind.target, shape)?;
    mount(Some(&name_of(&source)), &name_of(&target), NOTHING, flags, NOTHING)?;
    // Opened anew: what was opened before is what the mount now covers.
    let mounted = place::open(root, &bind.target)?;
    set(mounted.as_fd(), Attributes { read_only: bind.read_only, private: !bind.follows })
}

fn devices(root: BorrowedFd<'_>, given: &[PathBuf]) -> io::Result<()> {
    let dev = place::make(root, Path::new("dev"), Shape::Directory)?;
    // The devices are mounted one by one; one that a task makes itself does not work.
    let (nosuid, noexec) = (MsFlags::MS_NOSUID, MsFlags::MS_NOEXEC);
    mount(Some("tmpfs"), &name_of(&dev), Some("tmpfs"), QUIET, Some("mode=0755,size=64k"))?;
    for device in DEVICES {
        let source = Path::new("/dev").join(device);
        let target = place::make(root, &Path::new("dev").join(device), Shape::File)?;
        mount(Some(&source), &name_of(&target), NOTHING, MsFlags::MS_BIND, NOTHING)?;
    }
    for source in given {
        let on = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", source.display()))
        };
        give(root, source).map_err(on)?;
    }
    let pts = place::make(root, Path::new("dev/pts"), Shape::Directory)?;
    let options = Some("newinstance,ptmxmode=0666,mode=0620");
    mount(Some("devpts"), &name_of(&pts), Some("devpts"), nosuid | noexec, options)?;
    let shm = place::make(root, Path::new("dev/shm"), Shape::Directory)?;
    mount(Some("tmpfs"), &name_of(&shm), Some("tmpfs"), QUIET, Some("mode=1777,size=64m"))?;
    let dev = place::open(root, Path::new("dev"))?;
    for (name, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        nix::unistd::symlinkat(to, &dev, name)?;
    }
    Ok(())
}

/// Gives the task a device of the node, where it is there. Links of the node are followed, and what they lead to must be
/// a device.
fn give(root: BorrowedFd<'_>, device: &Path) -> io::Result<()> {
    let found = open(device, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let kind = std::fs::metadata(name_of(&found))?.file_type();
    let below = device
        .strip_prefix("/dev")
        .ok()
        .filter(|_| kind.is_char_device() || kind.is_block_device());
    let below = below.ok_or_else(|| io::Error::other("it is not a device beneath /dev"))?;
    let target = place::make(root, &Path::new("dev").join(below), Shape::File)?;
    Ok(mount(Some(&name_of(&found)), &name_of(&target), NOTHING, MsFlags::MS_BIND, NOTHING)?)
}

fn kernel(root: BorrowedFd<'_>) -> io::Result<()> {
    let proc = place::make(root, Path::new("proc"), Shape::Directory)?;
    mount(Some("proc"), &name_of(&proc), Some("proc"), QUIET, NOTHING)?;
    let sys = place::make(root, Path::new("sys"), Shape::Directory)?;
    mount(Some("sysfs"), &name_of(&sys), Some("sysfs"), QUIET | MsFlags::MS_RDONLY, NOTHING)?;
    for name in READ_ONLY {
        let path = Path::new("proc").join(name);
        let Ok(found) = place::open(root, &path) else { continue };
        let name = name_of(&found);
        mount(Some(&name), &name, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)?;
        let mounted = place::open(root, &path)?;
        set(mounted.as_fd(), Attributes { read_only: true, private: true })?;
    }
    for name in MASKED {
        let Ok(found) = place::open(root, &Path::new("proc").join(name)) else { continue };
        mount(Some("/dev/null"), &name_of(&found), NOTHING, MsFlags::MS_BIND, NOTHING)?;
    }
    for path in EMPTIED {
        empty(root, Path::new(path))?;
    }
    Ok(())
}

/// Covers a directory with an empty one, if it is there.
fn empty(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let Ok(found) = place::open(root, path) else { return Ok(()) };
    let flags = QUIET | MsFlags::MS_RDONLY;
    Ok(mount(Some("tmpfs"), &name_of(&found), Some("tmpfs"), flags, Some("mode=0000,size=4k"))?)
}

fn enter(root: BorrowedFd<'_>) -> nix::Result<()> {
    nix::unistd::fchdir(root)?;
    // The old root comes to lie on the new one, and is taken off it (pivot_root(2), "pivot_root(".", ".")").
    nix::unistd::pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    nix::unistd::chdir("/")
}

/// What holds for a mount and all below it.
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    read_only: bool,
    /// Whether it hears nothing more of the node's mounts.
    private: bool,
}

/// The kernel's `struct mount_attr` (mount_setattr(2)), which libc does not have.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const READ_ONLY_MOUNT: u64 = 1;
const NO_SETUID: u64 = 2;
const NO_DEVICES: u64 = 4;

/// Sets attributes of a mount and of all mounts below it. No setuid file and no device file works on any of them.
#[expect(unsafe_code, reason = "neither std nor nix offers mount_setattr")]
fn set(mount: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    let mut wanted = MountAttr {
        set: NO_SETUID | NO_DEVICES,
        clear: 0,
        propagation: if attributes.private { libc::MS_PRIVATE } else { 0 },
        user_namespace: 0,
    };
    if attributes.read_only {
        wanted.set |= READ_ONLY_MOUNT;
    }
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the descriptor is open, the path is an empty C string, and the structure is as long as is said.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut wanted,
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where everything is looked for that a command in the root names.
pub(super) fn of_process(holder: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/{holder}/root");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path.as_str(), flags, Mode::empty())?)
}
