//! What a source means: go-getter's grammar, as far as something can be fetched from it.
//!
//! ```text
//! [getter::]scheme://[user[:password]@]host[:port]/path[//subdir][?options]
//! github.com/org/repo   git@host:org/repo   bucket.s3.amazonaws.com/key
//! ```

use std::collections::BTreeMap;

use crate::FetchError;
use crate::failure::shown;

/// The longest source.
const MAX_SOURCE: usize = 8192;
/// Options that tell us what to do and are not part of the address.
const OURS: &[&str] = &["archive", "checksum", "filename", "version_id"];

/// How bytes are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http,
    Git,
    S3,
}

/// A source, taken apart. May hold secrets, and so has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    /// `http`, `https` or `ssh`.
    pub(crate) scheme: String,
    /// User and password, as they stand in the address.
    pub(crate) userinfo: Option<String>,
    /// Host and port.
    pub(crate) authority: String,
    /// The path, beginning with a slash, as it goes over the wire.
    pub(crate) path: String,
    /// What stands after `//`.
    pub(crate) subdir: Option<String>,
    /// The query of an HTTP address, without our own options.
    pub(crate) query: String,
    /// Our own options, from the query and from `options {}`.
    pub(crate) options: BTreeMap<String, String>,
}

impl Source {
    /// Reads a source with the options of the job file, which go over those of the query.
    pub(crate) fn parse(text: &str, given: &BTreeMap<String, String>) -> Result<Self, FetchError> {
        let refused = |words: String| Err(FetchError::refused(words));
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_SOURCE || text.chars().any(char::is_control) {
            return refused(
                "the artifact's source is empty, too long or holds control characters".into(),
            );
        }
        let (getter, address) = forced(text);
        let detected = detect(getter, address);
        let (getter, address) = forced(&detected);
        let Some((scheme, rest)) = address.split_once("://") else {
            return refused(format!(
                "`{}` is a path of the node; an artifact comes from http, https, git or s3",
                shown(strip_query(address).as_bytes())
            ));
        };
        let kind = match (getter, scheme) {
            (Some("git"), "http" | "https" | "ssh") => Kind::Git,
            (Some("s3"), "http" | "https") => Kind::S3,
            (None | Some("http" | "https"), "http" | "https") => Kind::Http,
            (Some("file"), _) | (_, "file") => {
                return refused(
                    "a source of type file would read the node's own files; an artifact comes from http, https, git or s3"
                        .into(),
                );
            }
            (getter, scheme) => {
                let name = getter.unwrap_or(scheme);
                return refused(format!(
                    "sources of type `{}` are not fetched; http, https, git (over https, http, ssh) and s3 are",
                    shown(name.as_bytes())
                ));
            }
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, _fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        if authority.is_empty()
            || authority.chars().any(|c| c.is_whitespace() || "\\\"'<>".contains(c))
        {
            return refused("the artifact's source names no host".into());
        }
        let (path, subdir) = match path.split_once("//") {
            Some((path, subdir)) => (path, Some(subdir.trim_matches('/').to_owned())),
            None => (path, None),
        };
        let mut options = BTreeMap::new();
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Only an HTTP address has a query of its own.
            if kind == Kind::Http && !OURS.contains(&key) {
                kept.push(pair);
            } else {
                options.insert(decode(key), decode(value));
            }
        }
        let mut query = kept.join("&");
        for (key, value) in given {
            if kind == Kind::Http && !OURS.contains(&key.as_str()) {
                // Nomad adds what it does not know to the address.
                if !query.is_empty() {
                    query.push('&');
                }
                query.push_str(&encode(key, false));
                query.push('=');
                query.push_str(&encode(value, false));
            } else {
                options.insert(key.clone(), value.clone());
            }
        }
        Ok(Self {
            kind,
            scheme: scheme.to_owned(),
            userinfo: userinfo.filter(|user| !user.is_empty()),
            authority: authority.to_owned(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            subdir: subdir.filter(|subdir| !subdir.is_empty()),
            query,
            options,
        })
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The address without what may be secret.
    pub(crate) fn shown(&self) -> String {
        let query = if self.query.is_empty() { "" } else { "?…" };
        shown(format!("{}://{}{}{query}", self.scheme, self.authority, self.path).as_bytes())
    }

    /// The last part of the path.
    pub(crate) fn file_name(&self) -> String {
        decode(self.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
    }

    /// Everything in it that no message may hold.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        if let Some(userinfo) = &self.userinfo {
            secrets.push(userinfo.clone());
            secrets.extend(userinfo.split_once(':').map(|(_, password)| password.to_owned()));
            secrets.extend(userinfo.split_once(':').map(|(_, password)| decode(password)));
            if self.kind != Kind::Git {
                secrets.push(decode(userinfo));
            }
        }
        secrets.extend(
            self.query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())),
        );
        let hidden = ["aws_access_key_secret", "aws_access_token", "sshkey"];
        secrets.extend(hidden.iter().filter_map(|name| self.options.get(*name).cloned()));
        // What is as short as a flag hides nothing, and would hide words.
        secrets.retain(|secret| secret.len() > 3);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// `getter::rest`.
fn forced(text: &str) -> (Option<&str>, &str) {
    match text.split_once("::") {
        Some((getter, rest))
            if getter.chars().all(|c| c.is_ascii_alphanumeric()) && !getter.is_empty() =>
        {
            (Some(getter), rest)
        }
        _ => (None, text),
    }
}

fn strip_query(text: &str) -> &str {
    text.split('?').next().unwrap_or_default()
}

/// The short forms that go-getter knows, written out.
fn detect(getter: Option<&str>, address: &str) -> String {
    let with = |getter: Option<&str>, address: &str| match getter {
        Some(getter) => format!("{getter}::{address}"),
        None => address.to_owned(),
    };
    if address.contains("://") {
        return with(getter, address);
    }
    for host in ["github.com/", "gitlab.com/", "bitbucket.org/"] {
        if let Some(rest) = address.strip_prefix(host)
            && matches!(getter, None | Some("git"))
        {
            let (rest, query) =
                rest.split_once('?').map_or((rest, String::new()), |(r, q)| (r, format!("?{q}")));
            let mut parts = rest.splitn(3, '/');
            if let (Some(org), Some(repo)) = (parts.next(), parts.next())
                && !repo.is_empty()
            {
                let repo = repo.strip_suffix(".git").unwrap_or(repo);
                let below = parts.next().map(|below| format!("//{}", below.trim_matches('/')));
                let below = below.unwrap_or_default();
                return format!("git::https://{host}{org}/{repo}.git{below}{query}");
            }
        }
    }
    if let Some((user, rest)) = address.split_once('@')
        && let Some((host, path)) = rest.split_once(':')
        && matches!(getter, None | Some("git"))
        && !user.contains('/')
        && !host.contains('/')
    {
        return format!("git::ssh://{user}@{host}/{}", path.trim_start_matches('/'));
    }
    let host = strip_query(address).split('/').next().unwrap_or_default();
    if host.ends_with(".amazonaws.com") && matches!(getter, None | Some("s3")) {
        return format!("s3::https://{address}");
    }
    with(getter, address)
}

/// What percent signs stand for; what is not UTF-8 then is replaced.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text in a query, or in a path with `slash`.
pub(crate) fn encode(text: &str, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte))
            }
            b'/' if slash => out.push('/'),
            _ => {
                let hex = crate::checksum::hex(&[byte]);
                out.push('%');
                out.push_str(&hex.to_ascii_uppercase());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> String {
        match Source::parse(text, &BTreeMap::new()) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.message,
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let source = parse(
            "https://me:pw@example.org:8443/a/b.tar.gz//sub/dir?archive=false&sig=x%2F&checksum=md5:0",
        );
        assert_eq!(source.kind, Kind::Http);
        assert_eq!(source.authority, "example.org:8443");
        assert_eq!(
            (source.path.as_str(), source.subdir.as_deref()),
            ("/a/b.tar.gz", Some("sub/dir"))
        );
        assert_eq!(source.query, "sig=x%2F");
        assert_eq!(source.option("archive"), Some("false"));
        assert_eq!(source.file_name(), "b.tar.gz");
        assert_eq!(source.shown(), "https://example.org:8443/a/b.tar.gz?…");
        assert!(source.secrets().contains(&"me:pw".to_owned()));
    }

    #[test]
    fn short_forms_are_written_out() {
        let git = |text: &str| {
            let source = parse(text);
            assert_eq!(source.kind, Kind::Git, "{text}");
            (format!("{}://{}{}", source.scheme, source.authority, source.path), source.subdir)
        };
        let repo = || "https://github.com/org/repo.git".to_owned();
        assert_eq!(git("github.com/org/repo"), (repo(), None));
        assert_eq!(git("github.com/org/repo.git//sub?ref=v1"), (repo(), Some("sub".into())));
        assert_eq!(git("git::github.com/org/repo/sub"), (repo(), Some("sub".into())));
        assert_eq!(git("git@h.example:org/r.git"), ("ssh://h.example/org/r.git".into(), None));
        assert_eq!(parse("git@h.example:org/r.git").userinfo.as_deref(), Some("git"));
        assert_eq!(parse("bucket.s3.amazonaws.com/key").kind, Kind::S3);
        assert_eq!(
            parse("s3::https://s3.amazonaws.com/b/k?aws_access_key_id=A")
                .option("aws_access_key_id"),
            Some("A")
        );
    }

    #[test]
    fn the_nodes_files_are_no_source() {
        for text in
            ["/etc/passwd", "./x", "../x", "file:///etc/passwd", "file::/etc/passwd", "x", ""]
        {
            assert!(!refusal(text).is_empty(), "{text}");
        }
        assert!(refusal("file:///etc/passwd").contains("the node's own files"));
        assert!(refusal("git::file:///srv/x").contains("the node's own files"));
        assert!(refusal("/etc/passwd").contains("path of the node"));
        assert!(refusal("hg::https://x/y").contains("`hg`"));
        assert!(refusal("gcs::https://x/y").contains("`gcs`"));
        assert!(refusal("https:///x").contains("names no host"));
    }

    #[test]
    fn options_go_over_the_query() {
        let given =
            [("archive".to_owned(), "zip".to_owned()), ("a b".to_owned(), "c&d".to_owned())];
        let Ok(source) = Source::parse("http://h/x?archive=false", &given.into()) else {
            panic!("a source")
        };
        assert_eq!((source.option("archive"), source.query.as_str()), (Some("zip"), "a%20b=c%26d"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_source_or_refused(text in "(git::|s3::|)(https?://|file://|)[a-z@:./?&=%#\\\\ ~-]{0,40}") {
            if let Ok(source) = Source::parse(&text, &BTreeMap::new()) {
                proptest::prop_assert!(["http", "https", "ssh"].contains(&source.scheme.as_str()));
                proptest::prop_assert!(!source.authority.contains('@') && !source.authority.contains('/'));
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(text in "\\PC{0,20}") {
            proptest::prop_assert_eq!(decode(&encode(&text, false)), text);
        }
    }
}
