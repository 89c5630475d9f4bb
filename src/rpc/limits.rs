//! What each side bounds.

use std::time::Duration;

use crate::frame::MAX_FRAME;

/// Limits of a server. The defaults are for a fleet.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Largest frame of a peer with a certificate, in bytes.
    pub frame: usize,
    /// Largest frame of one without.
    pub stranger_frame: usize,
    /// Most requests of one connection that are worked on at once.
    pub in_flight: usize,
    /// The same without a certificate.
    pub stranger_in_flight: usize,
    /// Most bytes of requests and answers that one connection makes the server hold; beyond it, less is read.
    pub held: usize,
    /// A connection without a certificate is closed after this time.
    pub stranger_life: Duration,
    /// Longest handshake.
    pub handshake: Duration,
    /// Something is sent at least so often.
    pub keep_alive: Duration,
    /// A connection on which nothing arrives, or nothing can be sent, for so long is dead.
    pub silence: Duration,
    /// Longest time that a request may ask for.
    pub longest_call: Duration,
    /// When the server stops, what is being worked on gets so long to finish.
    pub linger: Duration,
    /// Most connections at once.
    pub connections: usize,
    /// Most connections without a certificate at once.
    pub strangers: usize,
    /// Most handshakes at once.
    pub handshakes: usize,
    /// Most handshakes at once with one address, so that it cannot hold up all others.
    pub handshakes_of_one: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            frame: MAX_FRAME,
            stranger_frame: 64 * 1024,
            in_flight: 1024,
            stranger_in_flight: 4,
            held: 64 * 1024 * 1024,
            stranger_life: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            longest_call: Duration::from_secs(600),
            linger: Duration::from_secs(1),
            connections: 32 * 1024,
            strangers: 64,
            handshakes: 1024,
            handshakes_of_one: 512,
        }
    }
}

/// Limits of a client.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// Largest frame that is taken, in bytes.
    pub frame: usize,
    /// Longest time to connect, with the handshake and the server's first word.
    pub connect: Duration,
    /// Something is sent at least so often.
    pub keep_alive: Duration,
    /// A connection on which nothing arrives, or nothing can be sent, for so long is dead.
    pub silence: Duration,
    /// A connection that nobody uses for so long is closed.
    pub idle: Duration,
    /// After a failure to connect, calls fail at once for this long; twice as long after each further one.
    pub back_off: Duration,
    /// The longest of these times.
    pub longest_back_off: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            frame: MAX_FRAME,
            connect: Duration::from_secs(3),
            keep_alive: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            idle: Duration::from_secs(120),
            back_off: Duration::from_millis(50),
            longest_back_off: Duration::from_secs(1),
        }
    }
}
