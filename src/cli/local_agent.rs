//! The agent on this machine, as it tells its owner where it is: `agent.json` in its data directory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The largest file that is read.
const LIMIT: u64 = 64 * 1024;

/// What an agent says of itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct LocalAgent {
    pid: u32,
    http: SocketAddr,
    tls: Option<LocalTls>,
}

/// How to speak TLS with it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct LocalTls {
    /// Whether the API speaks it.
    pub(crate) http: bool,
    pub(crate) ca_file: PathBuf,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) server_name: Option<String>,
}

impl LocalAgent {
    /// The agent whose data is in the usual place, or in `HERDER_DATA_DIR`, if it runs and this user may know of it.
    pub(crate) fn find() -> Option<Self> {
        let dir = std::env::var_os("HERDER_DATA_DIR").filter(|dir| !dir.is_empty());
        Self::of(&dir.map_or_else(|| PathBuf::from("/var/lib/herder"), PathBuf::from))
    }

    fn of(data_dir: &Path) -> Option<Self> {
        let path = data_dir.join("agent.json");
        if std::fs::metadata(&path).ok()?.len() > LIMIT {
            return None;
        }
        let agent: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        // One that was killed leaves the file behind.
        Path::new(&format!("/proc/{}", agent.pid)).exists().then_some(agent)
    }

    /// Where this machine reaches it.
    pub(crate) fn address(&self) -> String {
        let ip = match self.http.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let scheme = if self.tls().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::new(ip, self.http.port()))
    }

    /// What its API's TLS takes.
    pub(crate) fn tls(&self) -> Option<&LocalTls> {
        self.tls.as_ref().filter(|tls| tls.http)
    }

    /// The authority of its cluster, if it has one.
    pub(crate) fn authority(&self) -> Option<&LocalTls> {
        self.tls.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<LocalAgent> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("agent.json"), text).expect("written");
        LocalAgent::of(dir.path())
    }

    #[test]
    fn an_agent_is_reached_where_it_listens() {
        let own = std::process::id();
        let plain = format!(r#"{{"pid":{own},"http":"127.0.0.1:4646","dns":"127.0.0.1:53"}}"#);
        assert_eq!(read(&plain).expect("there").address(), "http://127.0.0.1:4646");
        let tls = |http: bool, address: &str| {
            format!(
                r#"{{"pid":{own},"http":"{address}","tls":{{"http":{http},"catalog":true,"ca_file":"/a",
                "cert_file":"/b","key_file":"/c","server_name":"n1"}}}}"#
            )
        };
        let address = |text: String| read(&text).expect("there").address();
        assert_eq!(address(tls(true, "0.0.0.0:9")), "https://127.0.0.1:9");
        assert_eq!(address(tls(true, "[::]:9")), "https://[::1]:9");
        assert_eq!(address(tls(false, "10.0.0.1:9")), "http://10.0.0.1:9");
    }

    #[test]
    fn one_that_is_gone_is_none() {
        assert_eq!(read(r#"{"pid":4194305,"http":"127.0.0.1:4646"}"#), None);
        assert_eq!(read("{}"), None);
        assert_eq!(LocalAgent::of(Path::new("/nowhere")), None);
    }
}
