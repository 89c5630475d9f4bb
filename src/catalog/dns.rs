//! DNS over the catalog: names under the configured domains, answered from the newest catalog.
//!
//! [`answer`] is the whole of what is answered, without sockets. The listener parses queries with hickory's codec, so
//! that hostile bytes meet a tried parser; replies are written by our own few lines, because the question must be
//! echoed byte for byte and a reply must stop at an exact size.

mod answer;
mod ask;
mod server;
mod wire;

pub use answer::{Answer, Data, Record, answer};
pub use server::{ServeError, Server};
pub use wire::respond;

/// What the DNS server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domains it is the authority for, without dots at the ends.
    pub domains: Vec<String>,
    /// Seconds that answers may be kept; 0 by default, so that a change is seen at once.
    pub ttl: u32,
    /// Largest reply over UDP that a client may ask for. HAProxy is commonly set to 8192.
    pub udp_limit: u16,
    /// Whether instances with a warning are left out.
    pub only_passing: bool,
    /// TCP connections at a time; more wait to be accepted.
    pub tcp_connections: usize,
    /// How long a TCP connection may be idle.
    pub tcp_idle: std::time::Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: vec!["consul".to_owned(), "herder".to_owned()],
            ttl: 0,
            udp_limit: 8192,
            only_passing: false,
            tcp_connections: 256,
            tcp_idle: std::time::Duration::from_secs(10),
        }
    }
}
