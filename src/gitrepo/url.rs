//! Where a repository is: parsing an address, and printing it without what is secret in it.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::secret::Secret;

/// Longest address that is taken.
const MAX_URL: usize = 2048;

/// Where a repository is. `Display` and `Debug` leave out user, password and token.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteUrl(pub(crate) Place);

/// The ways to reach a repository.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The smart HTTP protocol.
    Http {
        tls: bool,
        authority: String,
        path: String,
        user: Option<String>,
        password: Option<Secret>,
    },
    /// The `ssh` program.
    Ssh { user: Option<String>, host: String, port: Option<u16>, path: String },
    /// The plain `git://` protocol.
    Git { host: String, port: Option<u16>, path: String },
    /// A folder of this machine.
    Local(PathBuf),
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not an address at all.
    #[error("the repository's address is empty, too long or holds control characters")]
    Unusable,
    /// A scheme we do not speak.
    #[error("`{scheme}://` is not supported; use https, ssh, git, file or a path")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// Something in it does not fit.
    #[error("the address {shown} cannot be used: {reason}")]
    Part {
        /// The address, without credentials.
        shown: String,
        /// What is wrong.
        reason: &'static str,
    },
}

impl RemoteUrl {
    /// Reads `https://`, `http://`, `ssh://`, `git://`, `file://`, `user@host:path`, or a path.
    ///
    /// # Errors
    /// On other schemes, missing hosts, queries and fragments, and on hosts, users or paths that a program could take
    /// for an option.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() || text.len() > MAX_URL || text.chars().any(char::is_control) {
            return Err(UrlError::Unusable);
        }
        let place = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "https" => http(true, rest)?,
                "http" => http(false, rest)?,
                "ssh" | "git+ssh" | "ssh+git" => ssh_url(rest)?,
                "git" => git(rest)?,
                "file" => Place::Local(file(rest)?),
                other if other.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) => {
                    return Err(UrlError::Scheme { scheme: other.to_owned() });
                }
                _ => Place::Local(PathBuf::from(text)),
            },
            None => match scp_like(text)? {
                Some(place) => place,
                None => Place::Local(PathBuf::from(text)),
            },
        };
        Ok(Self(place))
    }

    /// A folder of this machine.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self(Place::Local(path.into()))
    }

    /// The address without user, password or token: what logs, errors and pages show.
    pub fn redacted(&self) -> String {
        self.to_string()
    }

    /// The host, of an HTTP address with its port: whoever counts our requests. Empty for a folder of this machine.
    pub fn host(&self) -> &str {
        match &self.0 {
            Place::Http { authority, .. } => authority,
            Place::Ssh { host, .. } | Place::Git { host, .. } => host,
            Place::Local(_) => "",
        }
    }

    /// The folder, for a repository on this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Local(path) => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Http { tls, authority, path, .. } => {
                write!(f, "{}://{authority}{path}", if *tls { "https" } else { "http" })
            }
            Place::Ssh { host, port: Some(port), path, .. } => {
                write!(f, "ssh://{}:{port}{path}", bracketed(host))
            }
            Place::Ssh { host, port: None, path, .. } => {
                let slash = if path.starts_with('/') { "" } else { "/~/" };
                write!(f, "ssh://{}{slash}{path}", bracketed(host))
            }
            Place::Git { host, port: Some(port), path } => {
                write!(f, "git://{}:{port}{path}", bracketed(host))
            }
            Place::Git { host, port: None, path } => write!(f, "git://{}{path}", bracketed(host)),
            Place::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteUrl({self})")
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

struct Authority<'a> {
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: String,
    port: Option<u16>,
    path: &'a str,
}

/// Splits `user:password@host:port/path`. The last `@` ends the user part, so that a password with an unescaped `@`
/// does not end up in the host, which is shown.
fn authority<'a>(scheme: &str, rest: &'a str) -> Result<Authority<'a>, UrlError> {
    let slash = rest.find('/').unwrap_or(rest.len());
    let (front, path) = rest.split_at(slash);
    let (userinfo, hostport) = match front.rsplit_once('@') {
        Some((userinfo, hostport)) => (Some(userinfo), hostport),
        None => (None, front),
    };
    let part = |reason| UrlError::Part { shown: format!("{scheme}://{hostport}"), reason };
    let (host, port) = match hostport.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(|| part("`[` without `]`"))?;
            (host, after.strip_prefix(':'))
        }
        None => match hostport.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (hostport, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| part("the port is not a number"))?),
    };
    if !host_is_plain(host) {
        return Err(part("the host is missing or not a host name"));
    }
    if path.contains(['?', '#']) {
        return Err(part("queries and fragments are not part of a repository's address"));
    }
    let (user, password) = match userinfo.map(|info| info.split_once(':').ok_or(info)) {
        None => (None, None),
        Some(Ok((user, password))) => (Some(user), Some(password)),
        Some(Err(user)) => (Some(user), None),
    };
    let user = user.filter(|user| !user.is_empty());
    Ok(Authority { user, password, host: host.to_owned(), port, path })
}

fn host_is_plain(host: &str) -> bool {
    !host.is_empty()
        && !host.starts_with('-')
        && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:%".contains(c))
}

fn http(tls: bool, rest: &str) -> Result<Place, UrlError> {
    let scheme = if tls { "https" } else { "http" };
    let parts = authority(scheme, rest)?;
    let host = bracketed(&parts.host);
    let authority = parts.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    if parts.path.contains(' ') {
        let shown = format!("{scheme}://{authority}");
        return Err(UrlError::Part { shown, reason: "the path holds a space; write %20" });
    }
    Ok(Place::Http {
        tls,
        authority,
        path: parts.path.trim_end_matches('/').to_owned(),
        user: parts.user.map(percent_decoded),
        password: parts.password.map(|text| Secret::new(percent_decoded(text))),
    })
}

fn ssh_url(rest: &str) -> Result<Place, UrlError> {
    let parts = authority("ssh", rest)?;
    // `ssh://host/~user/r` means a path below a home folder, which the shell there expands only without the slash.
    let path = if parts.path.starts_with("/~") { &parts.path[1..] } else { parts.path };
    ssh(parts.user.map(percent_decoded), parts.host, parts.port, percent_decoded(path))
}

fn ssh(
    user: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
) -> Result<Place, UrlError> {
    let part = |reason| UrlError::Part { shown: format!("ssh://{}", bracketed(&host)), reason };
    if path.is_empty() || path == "/" || path.starts_with('-') || path.chars().any(char::is_control)
    {
        return Err(part("the path is missing or begins with `-`"));
    }
    let user_is_plain = |user: &String| {
        !user.starts_with('-') && user.chars().all(|c| c.is_alphanumeric() || "._-+@\\".contains(c))
    };
    if !user.as_ref().is_none_or(user_is_plain) {
        return Err(part("the user holds unusual characters or begins with `-`"));
    }
    Ok(Place::Ssh { user, host, port, path })
}

/// `user@host:path` and `host:path`, when the colon comes before any slash.
fn scp_like(text: &str) -> Result<Option<Place>, UrlError> {
    let Some((front, path)) = text.split_once(':') else { return Ok(None) };
    if front.contains('/') || front.is_empty() {
        return Ok(None);
    }
    let (user, host) = match front.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, front),
    };
    if !host_is_plain(host) {
        let shown = format!("ssh://{host}");
        return Err(UrlError::Part { shown, reason: "the host is not a host name" });
    }
    ssh(user, host.to_owned(), None, path.to_owned()).map(Some)
}

fn git(rest: &str) -> Result<Place, UrlError> {
    let parts = authority("git", rest)?;
    let (host, port, path) = (parts.host, parts.port, percent_decoded(parts.path));
    if path.len() < 2 || path.chars().any(char::is_control) {
        let shown = format!("git://{}", bracketed(&host));
        return Err(UrlError::Part { shown, reason: "the path is missing" });
    }
    Ok(Place::Git { host, port, path })
}

fn file(rest: &str) -> Result<PathBuf, UrlError> {
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        let shown = "file://".to_owned();
        return Err(UrlError::Part { shown, reason: "write file:///absolute/path" });
    }
    Ok(PathBuf::from(percent_decoded(path)))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                out.push(decoded);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        RemoteUrl::parse(text).expect("an address").redacted()
    }

    #[test]
    fn addresses_are_shown_without_credentials() {
        let table = [
            ("https://git.example/a/b.git", "https://git.example/a/b.git"),
            ("https://u:p%40ss@git.example:8443/a/", "https://git.example:8443/a"),
            ("https://u:p@ss@git.example/a", "https://git.example/a"),
            ("http://ghp_token@git.example/a", "http://git.example/a"),
            ("ssh://git:pw@git.example:2222/a b", "ssh://git.example:2222/a b"),
            ("git@git.example:team/a.git", "ssh://git.example/~/team/a.git"),
            ("git@git.example:/srv/a.git", "ssh://git.example/srv/a.git"),
            ("git://[::1]:9418/a", "git://[::1]:9418/a"),
            ("file:///srv/my%20repo", "/srv/my repo"),
            ("./repo", "./repo"),
            ("/srv/a:b", "/srv/a:b"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text), expected, "{text}");
            let url = RemoteUrl::parse(text).expect("an address");
            assert_eq!(format!("{url:?}"), format!("RemoteUrl({expected})"));
        }
    }

    #[test]
    fn addresses_that_could_be_options_or_hide_secrets_are_refused() {
        for text in [
            "",
            "ssh://-oProxyCommand=x/path",
            "ssh://host/",
            "-oProxyCommand=x:path",
            "host:-upload-pack",
            "-x@host:path",
            "ssh://%2doX@host/path",
            "https:///path",
            "https://host/path?token=abc",
            "https://host:port/path",
            "ftp://host/path",
            "file://host/path",
            "git://host/",
            "https://ho st/a\nb",
        ] {
            assert!(RemoteUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn home_folders_keep_their_tilde() {
        let url = RemoteUrl::parse("ssh://git.example/~bob/a").expect("an address");
        assert!(matches!(url.0, Place::Ssh { path, .. } if path == "~bob/a"));
    }

    #[test]
    fn errors_do_not_repeat_a_password() {
        for text in
            ["https://u:s3cret@host/a?b", "https://u:s3cret@host:x/a", "ssh://u:s3cret@-h/a"]
        {
            let error = RemoteUrl::parse(text).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
