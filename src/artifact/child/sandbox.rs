//! What the child gives up before it asks for a byte: its controlling terminal and core files, privileges and the means
//! to get new ones, every file but its own folder and what finding hosts needs, listening, and signals to others.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchdir, geteuid, getuid, setgid, setgroups, setsid, setuid};

use crate::FetchError;
use crate::request::Request;

/// The newest rules that are known here; an older kernel enforces those that it knows.
const RULES: ABI = ABI::V6;
/// Memory, in bytes of address space.
const MAX_MEMORY: u64 = 2 << 30;
const MAX_FILES: u64 = 256;

/// What finding hosts by name, TLS and loading a program need to read.
const READABLE: &[&str] = &[
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ld.so.cache",
    "/etc/passwd",
    "/etc/group",
    "/etc/ssh/ssh_known_hosts",
    "/run/systemd/resolve",
    "/run/nscd",
    "/dev/urandom",
];
/// What may be run, and read for it: ssh.
const RUNNABLE: &[&str] = &["/usr/bin/ssh", "/bin/ssh", "/usr/lib", "/usr/lib64", "/lib", "/lib64"];

/// Gives it all up. From here on the current directory is the staging folder.
pub(super) fn enter(request: &Request) -> Result<(), FetchError> {
    let failed =
        |doing: &'static str| move |error: nix::Error| FetchError::system(doing, error.desc());
    let staging = File::options()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(&request.staging)
        .map_err(|error| FetchError::system("opening the staging folder", error))?;
    setsid().map_err(failed("starting a session"))?;
    umask(Mode::empty());
    set(Resource::RLIMIT_CORE, 0)?;
    set(Resource::RLIMIT_NOFILE, MAX_FILES)?;
    set(Resource::RLIMIT_AS, MAX_MEMORY)?;
    let largest = request.limits.http_max_bytes.max(request.limits.decompression_size_limit);
    if request.limits.http_max_bytes > 0 && request.limits.decompression_size_limit > 0 {
        set(Resource::RLIMIT_FSIZE, largest.saturating_add(1 << 20))?;
    }
    ignore_file_size_signal()?;
    if geteuid().is_root() {
        let (uid, gid) = request.nobody;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setgroups(&[]).map_err(failed("giving up groups"))?;
        setgid(gid).map_err(failed("becoming nobody"))?;
        setuid(uid).map_err(failed("becoming nobody"))?;
        if getuid().is_root() || setuid(Uid::from_raw(0)).is_ok() {
            return Err(FetchError::refused(
                "privileges could not be given up; nothing is fetched",
            ));
        }
    }
    prctl::set_no_new_privs().map_err(failed("giving up new privileges"))?;
    // No core files, and nobody of the same user looks into our memory.
    prctl::set_dumpable(false).map_err(failed("closing our memory"))?;
    fchdir(&staging).map_err(failed("entering the staging folder"))?;
    if request.isolate {
        let closed = lock(&staging).map_err(|error| {
            FetchError::failed(format!("the file system cannot be closed: {error}"))
        })?;
        if !closed {
            return Err(FetchError::refused(
                "the kernel has no Landlock to close the file system with; set disable_filesystem_isolation in the \
                 node's configuration to fetch without",
            ));
        }
    }
    Ok(())
}

fn set(resource: Resource, limit: u64) -> Result<(), FetchError> {
    // A limit that is lower already stays.
    let (_, hard) = nix::sys::resource::getrlimit(resource)
        .map_err(|error| FetchError::system("reading limits", error.desc()))?;
    let limit = limit.min(hard);
    setrlimit(resource, limit, limit)
        .map_err(|error| FetchError::system("setting limits", error.desc()))
}

/// A file that grows too large is an error to be told, not a reason to die.
#[expect(unsafe_code, reason = "signal dispositions are process-wide; no handler is installed")]
fn ignore_file_size_signal() -> Result<(), FetchError> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, SigHandler::SigIgn) }
        .map(drop)
        .map_err(|error| FetchError::system("setting signals", error.desc()))
}

/// Closes the file system but for the staging folder; whether the kernel does so at all.
fn lock(staging: &File) -> Result<bool, landlock::RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(RUNNABLE, run))?
        .add_rules(path_beneath_rules(["/dev/null"], read | AccessFs::WriteFile))?
        .add_rule(PathBeneath::new(staging.as_fd(), AccessFs::from_all(RULES)))?
        .restrict_self()
        .map(|status| status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn nothing_but_the_staging_folder_is_open() {
        let staging = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("secret"), "x").expect("writes");
        let folder = File::open(staging.path()).expect("opens");
        // The rules are those of the thread that asks for them, and this one ends with the test.
        let (mine, theirs) = (staging.path().to_owned(), outside.path().to_owned());
        let tried = std::thread::spawn(move || {
            // Without privileges it cannot be asked for otherwise.
            prctl::set_no_new_privs().expect("gives up");
            lock(&folder).expect("locks");
            let denied = |result: std::io::Result<()>| {
                result.err().map(|error| error.kind()) == Some(ErrorKind::PermissionDenied)
            };
            let open = |path: &std::path::Path| File::open(path).map(drop);
            let all = [
                denied(open(&theirs.join("secret"))),
                denied(open("/etc/shadow".as_ref())),
                denied(open("/proc/self/environ".as_ref())),
                denied(File::create(theirs.join("new")).map(drop)),
                denied(std::process::Command::new("/bin/sh").arg("-c").arg(":").status().map(drop)),
                denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
            ];
            let fine = std::fs::write(mine.join("new"), "x").is_ok()
                && open("/etc/hosts".as_ref()).is_ok();
            (all, fine)
        });
        let (denied, fine) = tried.join().expect("tried");
        if !denied.contains(&true) {
            assert!(std::env::var_os("CI").is_none(), "the kernel has no Landlock");
            eprintln!("skipped: the kernel has no Landlock");
            return;
        }
        assert_eq!(denied, [true; 6]);
        assert!(fine, "its own folder and finding hosts work");
    }
}
