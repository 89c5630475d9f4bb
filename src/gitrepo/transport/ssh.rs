//! ssh by the `ssh` program, so that the host's own keys, agents, jump hosts and `known_hosts` count.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Session;
use crate::secret::Credentials;
use crate::url::Place;

/// What a pipe takes without blocking when `poll` says it can be written to.
const PIPE_CHUNK: usize = 4096;
/// How often a wait looks whether the agent is stopping.
const SLICE: Duration = Duration::from_millis(200);

pub(super) struct Ssh {
    session: Arc<Session>,
}

impl Ssh {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    fn spawn(&self) -> io::Result<Connection> {
        let session = &self.session;
        let credentials = &session.config.credentials;
        let Some(arguments) =
            arguments(&session.config.url.0, credentials, session.limits().timeout)
        else {
            return Err(io::Error::other("not an ssh address"));
        };
        let program = credentials.ssh_program.clone().unwrap_or_else(|| "ssh".into());
        let mut child = Command::new(&program)
            .args(arguments)
            .env_remove("GIT_PROTOCOL")
            .env_remove("GIT_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                let program = program.display();
                session.other(format!("cannot run `{program}`: {error}; install an ssh client"))
            })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Connection { session: Arc::clone(session), child, stdin, stdout, stderr })
    }
}

impl SmartSubtransport for Ssh {
    fn action(
        &self,
        _url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs | Service::UploadPack => match self.spawn() {
                Ok(connection) => Ok(Box::new(connection)),
                Err(error) => Err(git2::Error::from_str(&error.to_string())),
            },
            Service::ReceivePackLs | Service::ReceivePack => {
                Err(git2::Error::from_str("nothing is ever pushed"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The program's arguments. The host comes after `--`; the remote command is one word, quoted for the shell there.
fn arguments(place: &Place, credentials: &Credentials, timeout: Duration) -> Option<Vec<OsString>> {
    let Place::Ssh { user, host, port, path } = place else { return None };
    let mut out: Vec<OsString> = vec![
        "-T".into(),
        "-oBatchMode=yes".into(),
        "-oStrictHostKeyChecking=yes".into(),
        format!("-oConnectTimeout={}", timeout.as_secs().max(1)).into(),
    ];
    if let Some(key) = &credentials.ssh_key_file {
        out.extend(["-oIdentitiesOnly=yes".into(), "-i".into(), key.into()]);
    }
    if let Some(file) = &credentials.known_hosts_file {
        let mut option = OsString::from("-oUserKnownHostsFile=");
        option.push(file);
        out.push(option);
    }
    if let Some(port) = port {
        out.extend(["-p".into(), port.to_string().into()]);
    }
    out.push("--".into());
    out.push(user.as_ref().map_or_else(|| host.clone(), |user| format!("{user}@{host}")).into());
    out.push(format!("git-upload-pack {}", quoted(path)).into());
    Some(out)
}

fn quoted(path: &str) -> String {
    // `~user` must stay outside the quotes to be expanded; its characters are checked to be plain.
    let end = path.find('/').unwrap_or(path.len());
    let (home, rest) = if path.starts_with('~') { path.split_at(end) } else { ("", path) };
    let plain = home.chars().all(|c| c.is_ascii_alphanumeric() || "~._-".contains(c));
    let (home, rest) = if plain { (home, rest) } else { ("", path) };
    format!("{home}'{}'", rest.replace('\'', "'\\''"))
}

/// The running program. Dropping it ends the program.
struct Connection {
    session: Arc<Session>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

enum Direction {
    In,
    Out,
}

impl Connection {
    /// Waits until the pipe is ready. What comes in on standard error meanwhile is taken, so that the program never
    /// blocks on it.
    fn wait(&mut self, direction: Direction, doing: &str) -> io::Result<()> {
        let whole = self.session.next_wait(doing)?;
        let begun = Instant::now();
        loop {
            let left = whole.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(self.session.timed_out(whole, doing));
            }
            self.session.next_wait(doing)?;
            let (ready, errors) = self.poll(&direction, left.min(SLICE))?;
            if errors {
                self.take_errors();
            }
            if ready {
                return Ok(());
            }
        }
    }

    fn poll(&self, direction: &Direction, wait: Duration) -> io::Result<(bool, bool)> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "ssh has ended");
        let main = match direction {
            Direction::In => {
                PollFd::new(self.stdout.as_ref().ok_or_else(closed)?.as_fd(), PollFlags::POLLIN)
            }
            Direction::Out => {
                PollFd::new(self.stdin.as_ref().ok_or_else(closed)?.as_fd(), PollFlags::POLLOUT)
            }
        };
        let mut fds = vec![main];
        if let Some(stderr) = &self.stderr {
            fds.push(PollFd::new(stderr.as_fd(), PollFlags::POLLIN));
        }
        let millis = u16::try_from(wait.as_millis().max(1)).unwrap_or(u16::MAX);
        match poll(&mut fds, PollTimeout::from(millis)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let any = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        Ok((any(fds.first()), any(fds.get(1))))
    }

    /// Reads what standard error has ready; at its end it is closed.
    fn take_errors(&mut self) {
        let mut buffer = [0; 1024];
        let Some(stderr) = &mut self.stderr else { return };
        match stderr.read(&mut buffer) {
            Ok(0) | Err(_) => self.stderr = None,
            Ok(count) => self.session.note_stderr(buffer.get(..count).unwrap_or_default()),
        }
    }

    /// After the end of the output: what the program still has to say, for a moment.
    fn last_words(&mut self) {
        let begun = Instant::now();
        while let Some(stderr) = &self.stderr {
            if begun.elapsed() > Duration::from_secs(1) {
                return;
            }
            let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            let waited = poll(&mut fds, PollTimeout::from(100_u16));
            if matches!(waited, Ok(count) if count > 0) {
                self.take_errors();
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(Direction::In, "waiting for data over ssh")?;
        let Some(stdout) = &mut self.stdout else { return Ok(0) };
        let count = stdout.read(buffer)?;
        if count == 0 {
            self.last_words();
        }
        Ok(count)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(Direction::Out, "sending a request over ssh")?;
        let Some(stdin) = &mut self.stdin else { return Ok(0) };
        match stdin.write(bytes.get(..PIPE_CHUNK).unwrap_or(bytes)) {
            Ok(count) => Ok(count),
            Err(error) => {
                self.last_words();
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
        // With its pipes closed it would end by itself; killing it makes sure that waiting for it is short.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            tracing::debug!("an ssh program had already been taken away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::RemoteUrl;

    #[test]
    fn the_host_comes_after_the_options() {
        let url = RemoteUrl::parse("ssh://git@git.example:2222/it's/a").expect("an address");
        let credentials = Credentials {
            ssh_key_file: Some("/k".into()),
            known_hosts_file: Some("/h".into()),
            ..Credentials::default()
        };
        let words = arguments(&url.0, &credentials, Duration::from_secs(7)).expect("ssh");
        let words: Vec<_> = words.iter().map(|word| word.to_str().expect("text")).collect();
        assert_eq!(
            words,
            [
                "-T",
                "-oBatchMode=yes",
                "-oStrictHostKeyChecking=yes",
                "-oConnectTimeout=7",
                "-oIdentitiesOnly=yes",
                "-i",
                "/k",
                "-oUserKnownHostsFile=/h",
                "-p",
                "2222",
                "--",
                "git@git.example",
                r"git-upload-pack '/it'\''s/a'",
            ]
        );
    }

    #[test]
    fn home_folders_are_expanded_and_nothing_else() {
        assert_eq!(quoted("~bob/a"), "~bob'/a'");
        assert_eq!(quoted("~$(x)/a"), "'~$(x)/a'");
        assert_eq!(quoted("/$(x)"), "'/$(x)'");
    }
}
