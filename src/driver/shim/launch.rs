//! A command in a task's surroundings: where it is, as whom and where it runs. Used inside the shim.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{Gid, Uid, User};

use super::record::CommandSpec;

/// Why a command does not run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Whether every further attempt would fail the same way.
    pub(crate) never: bool,
}

impl Failure {
    pub(crate) fn never(message: impl Into<String>) -> Self {
        Self { message: message.into(), never: true }
    }

    pub(crate) fn system(doing: &str, error: &io::Error) -> Self {
        Self { message: format!("cannot {doing}: {error}"), never: false }
    }

    /// What the kernel said to the attempt to run it. With a root of its own, whether its directory is there was seen
    /// before.
    pub(crate) fn of_exec(spec: &CommandSpec, error: &io::Error, own_root: bool) -> Self {
        let command = &spec.command;
        let cwd = spec.cwd.display();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) if !own_root && !spec.cwd.is_dir() => {
                Self::never(format!("`work_dir` {cwd} is not a directory"))
            }
            Some(libc::ENOENT) => Self::never(format!(
                "command `{command}` is there, but the interpreter or loader it names is not"
            )),
            Some(libc::EACCES) => Self::never(format!(
                "command `{command}` may not be run: permission denied for it or for {cwd}"
            )),
            Some(libc::ENOEXEC) => Self::never(format!(
                "command `{command}` is not a program of this machine; a script needs a first \
                 line such as `#!/bin/sh`"
            )),
            Some(libc::E2BIG) => Self::never(format!(
                "command `{command}`: its arguments and environment are too long"
            )),
            _ => Self {
                message: format!("command `{command}` cannot be run: {error}"),
                never: false,
            },
        }
    }
}

/// The command with everything but its standard streams.
pub(super) fn command(spec: &CommandSpec) -> Result<Command, Failure> {
    let program = resolve(spec)?;
    let mut command = Command::new(program);
    // The name as the file wrote it, for programs that look at how they were called.
    command.arg0(&spec.command).args(&spec.args).env_clear().envs(&spec.env).current_dir(&spec.cwd);
    Ok(command)
}

/// Finds the program: in the task's directory first, then in the task's own PATH, then, for `herder`, where the agent is.
fn resolve(spec: &CommandSpec) -> Result<PathBuf, Failure> {
    let command = &spec.command;
    let path = spec.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let mut places = vec![spec.task_dir.join("local"), spec.task_dir.clone()];
    if command.contains('/') {
        places.push(spec.cwd.clone());
    } else {
        places.extend(std::env::split_paths(path).filter(|dir| dir.is_absolute()));
        if command == "herder" {
            places.extend(spec.own_dir.clone());
        }
    }
    let mut refused = None;
    // Joining an absolute command gives the command itself.
    for candidate in places.iter().map(|dir| dir.join(command)) {
        match candidate.metadata() {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(_) => refused = refused.or(Some(candidate)),
            Err(_) => {}
        }
    }
    Err(Failure::never(match refused {
        Some(path) if path.is_dir() => {
            format!("command `{command}` is a directory: {}", path.display())
        }
        Some(path) => format!(
            "command `{command}` is not executable: {}; run `chmod +x` on it",
            path.display()
        ),
        None if command.contains('/') => format!("command `{command}` does not exist"),
        None => format!("command `{command}` does not exist in PATH ({path})"),
    }))
}

/// A user of this machine, by name or number.
pub(crate) fn user_of(name: &str) -> Result<User, Failure> {
    let user = match name.parse() {
        Ok(id) => User::from_uid(Uid::from_raw(id)),
        Err(_) => User::from_name(name),
    };
    user.map_err(|error| Failure::system("look up the task's user", &error.into()))?
        .ok_or_else(|| Failure::never(format!("user `{name}` does not exist on this node")))
}

/// Runs the command as another user, with that user's groups. To be called last: what the command does before it is
/// run, it does in the order in which it was told to, and as this user it may do less. Empty means no change.
pub(super) fn switch_user(command: &mut Command, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Ok(());
    }
    let user = user_of(name)?;
    if user.uid == Uid::effective() {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        return Err(Failure::never(format!(
            "a task can run as `{name}` only if the agent runs as root"
        )));
    }
    let name = CString::new(user.name).map_err(|_| Failure::never("a user name with a NUL"))?;
    become_user(command, name, user.uid, user.gid);
    Ok(())
}

#[expect(unsafe_code, reason = "std cannot set the supplementary groups of another user")]
fn become_user(command: &mut Command, name: CString, uid: Uid, gid: Gid) {
    let switch = move || -> io::Result<()> {
        // In this order: once the user is changed, the groups can no longer be.
        nix::unistd::initgroups(&name, gid)?;
        nix::unistd::setgid(gid)?;
        nix::unistd::setuid(uid)?;
        Ok(())
    };
    // SAFETY: commands are only built inside the shim, which has one thread; no lock can be held by another one.
    unsafe {
        command.pre_exec(switch);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn spec(command: &str, task_dir: &Path) -> CommandSpec {
        CommandSpec {
            command: command.to_owned(),
            cwd: task_dir.to_owned(),
            task_dir: task_dir.to_owned(),
            env: [("PATH".to_owned(), "/bin:/usr/bin".to_owned())].into(),
            ..CommandSpec::default()
        }
    }

    #[test]
    fn programs_are_found_where_nomad_finds_them() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(resolve(&spec("sh", dir.path())).expect("in PATH").ends_with("sh"));
        assert_eq!(resolve(&spec("/bin/sh", dir.path())).expect("there"), Path::new("/bin/sh"));
        let own = dir.path().join("local/sh");
        fs::create_dir(dir.path().join("local")).expect("makes");
        fs::write(&own, "#!/bin/sh\n").expect("writes");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).expect("sets");
        assert_eq!(resolve(&spec("sh", dir.path())).expect("its own"), own);
        assert_eq!(resolve(&spec("local/sh", dir.path())).expect("its own"), own);
    }

    #[test]
    fn herder_is_found_beside_the_agent_and_nothing_else_is() {
        let (dir, bin) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        for name in ["herder", "other"] {
            let path = bin.path().join(name);
            fs::write(&path, "x").expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
        }
        let with = |name| {
            let own_dir = Some(bin.path().to_owned());
            let env = [("PATH".to_owned(), "/nowhere".to_owned())].into();
            resolve(&CommandSpec { own_dir, env, ..spec(name, dir.path()) })
        };
        assert_eq!(with("herder").expect("found"), bin.path().join("herder"));
        let failure = with("other").expect_err("not found");
        assert_eq!(failure.message, "command `other` does not exist in PATH (/nowhere)");
        assert!(failure.never);
    }

    #[test]
    fn what_is_not_executable_is_said_to_be() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("tool"), "x").expect("writes");
        let failure = resolve(&spec("tool", dir.path())).expect_err("not executable");
        assert!(failure.message.starts_with("command `tool` is not executable"), "{failure:?}");
        let failure = resolve(&spec("./nope", dir.path())).expect_err("not there");
        assert_eq!(failure.message, "command `./nope` does not exist");
    }

    #[test]
    fn a_user_that_does_not_exist_is_said_so() {
        let mut command = Command::new("sh");
        let failure = switch_user(&mut command, "no-such-user").expect_err("no such user");
        assert_eq!(failure.message, "user `no-such-user` does not exist on this node");
    }
}
