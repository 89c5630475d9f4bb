//! Repositories over ssh, by the `ssh` program: in the child's own session and sandbox, with none of the machine's
//! configuration, to an address that was checked.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{BufReader, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::protocol::Advertisement;
use crate::FetchError;
use crate::failure::shown;
use crate::source::{Source, decode};
use crate::web::Web;

/// The key's file, in the staging folder.
const KEY: &str = "key";
const MAX_STDERR: u64 = 4096;

/// A running `ssh`.
pub(super) struct Connection {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Starts it.
pub(super) fn connect(source: &Source, web: &Web) -> Result<Connection, FetchError> {
    if let Some(key) = source.option("sshkey") {
        write_key(key)?;
    }
    let (host, port) = match source.authority.rsplit_once(':') {
        Some((host, port)) => (
            host,
            port.parse().map_err(|_| FetchError::refused("the ssh address has no usable port"))?,
        ),
        None => (source.authority.as_str(), 22),
    };
    let address = web.resolve.addresses(host, port)?.into_iter().next();
    let address = address.ok_or_else(|| FetchError::failed("the ssh host has no address"))?;
    let user = source.userinfo.as_deref().map(decode);
    let user = user.as_deref().unwrap_or("git").split(':').next().unwrap_or("git").to_owned();
    let words = arguments(&user, host, &address.ip().to_string(), port, source, web.insecure)?;
    let mut child = Command::new("ssh")
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            FetchError::failed(format!("the program `ssh` cannot be started: {error}"))
        })?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let output = output.ok_or_else(|| FetchError::failed("ssh has no output"))?;
    Ok(Connection { child, input, output: BufReader::new(output) })
}

fn arguments(
    user: &str,
    host: &str,
    address: &str,
    port: u16,
    source: &Source,
    insecure: bool,
) -> Result<Vec<OsString>, FetchError> {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-[]:".contains(c))
    };
    if !plain(user) || !plain(host) {
        return Err(FetchError::refused("the ssh address has a user or host that is no name"));
    }
    let path = decode(&source.path);
    if path.chars().any(char::is_control) {
        return Err(FetchError::refused("the ssh address has a path with control characters"));
    }
    let known_as = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let mut words: Vec<OsString> = [
        "-T",
        "-F",
        "none",
        "-oBatchMode=yes",
        "-oConnectTimeout=30",
        "-oIdentitiesOnly=yes",
        "-oProxyCommand=none",
        "-oClearAllForwardings=yes",
        "-oUserKnownHostsFile=/dev/null",
    ]
    .map(OsString::from)
    .into();
    let strict = if insecure { "no" } else { "yes" };
    words.push(format!("-oStrictHostKeyChecking={strict}").into());
    words.push(format!("-oHostKeyAlias={known_as}").into());
    words.push(format!("-oHostName={address}").into());
    if source.option("sshkey").is_some() {
        words.extend(["-i".into(), KEY.into()]);
    }
    words.extend([
        "-p".into(),
        port.to_string().into(),
        "--".into(),
        format!("{user}@{host}").into(),
    ]);
    words.push(format!("git-upload-pack '{}'", path.replace('\'', r"'\''")).into());
    Ok(words)
}

/// A private key, in base64 as go-getter takes it.
fn write_key(key: &str) -> Result<(), FetchError> {
    let bytes = STANDARD.decode(key.trim()).map_err(|_| {
        FetchError::refused("`sshkey` is a private key in base64, and this is not base64")
    })?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(KEY)
        .and_then(|mut file| file.write_all(&bytes))
        .map_err(|error| FetchError::system("keeping the ssh key", error))
}

impl Connection {
    pub(super) fn advertisement(&mut self) -> Result<Advertisement, FetchError> {
        Advertisement::read(&mut self.output, false).map_err(|error| self.explain(error))
    }

    /// Sends the request; what comes back is read from the result.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<&mut impl Read, FetchError> {
        let mut input =
            self.input.take().ok_or_else(|| FetchError::failed("ssh takes no input"))?;
        let sent = input.write_all(request).and_then(|()| input.flush());
        sent.map_err(|error| FetchError::failed(format!("the connection broke off: {error}")))?;
        self.input = Some(input);
        Ok(&mut self.output)
    }

    /// What went wrong, in ssh's own words where it has any.
    pub(super) fn explain(&mut self, error: FetchError) -> FetchError {
        self.input = None;
        // Whatever it waits for does not come any more.
        let _ = self.child.kill();
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(MAX_STDERR).read_to_end(&mut said);
        }
        let words = String::from_utf8_lossy(&said);
        match words.trim() {
            "" => error,
            words
                if words.contains("Host key verification failed")
                    || words.contains("No ED25519 host key") =>
            {
                FetchError::refused(format!(
                    "the ssh host is not known: add its key to /etc/ssh/ssh_known_hosts on the node ({})",
                    shown(words.as_bytes())
                ))
            }
            words => FetchError { message: format!("ssh: {}", shown(words.as_bytes())), ..error },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_program_is_told_everything_and_asked_nothing() {
        let source = |text: &str| match Source::parse(text, &BTreeMap::new()) {
            Ok(source) => source,
            Err(error) => panic!("{error}"),
        };
        let source = source("git::ssh://git@h.example:2222/it's/a.git?sshkey=aGk=");
        let words =
            arguments("git", "h.example", "192.0.2.1", 2222, &source, false).expect("words");
        let words: Vec<_> = words.iter().map(|word| word.to_str().expect("text")).collect();
        assert!(
            words.contains(&"-oHostName=192.0.2.1")
                && words.contains(&"-oHostKeyAlias=[h.example]:2222")
        );
        assert!(words.contains(&"-oStrictHostKeyChecking=yes"));
        assert!(words.ends_with(&[
            "-i",
            "key",
            "-p",
            "2222",
            "--",
            "git@h.example",
            r"git-upload-pack '/it'\''s/a.git'"
        ]));
        for user in ["-oProxyCommand=x", "", "a b", "$(x)"] {
            assert!(arguments(user, "h", "192.0.2.1", 22, &source, false).is_err(), "{user}");
        }
    }
}
