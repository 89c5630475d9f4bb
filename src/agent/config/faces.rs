//! Which of the agent's HTTP faces speak TLS.

use std::net::IpAddr;

use super::file::TlsBlock;

/// What the configuration says of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faces {
    /// Of the API; where nothing is said, its address decides.
    pub(crate) http: Option<bool>,
    /// Of the catalog, likewise.
    pub(crate) catalog: Option<bool>,
    /// Whether callers must show a certificate where TLS is spoken.
    pub(crate) certified: bool,
}

/// How a face speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// Plainly, to this machine alone.
    Plain,
    /// Plainly, to whoever listens on the way, because the configuration says so.
    InTheOpen,
    /// TLS.
    Tls,
}

impl Faces {
    pub(super) fn of(block: &TlsBlock) -> Self {
        Self {
            http: block.http,
            catalog: block.catalog.or(block.http),
            certified: block.verify_https_client.unwrap_or(false),
        }
    }
}

/// How a face on this address speaks.
pub(crate) fn speech(address: IpAddr, said: Option<bool>) -> Speech {
    // One that listens everywhere is reached from elsewhere too.
    match (said, address.to_canonical().is_loopback()) {
        (Some(true), _) | (None, false) => Speech::Tls,
        (Some(false) | None, true) => Speech::Plain,
        (Some(false), false) => Speech::InTheOpen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(address: &str, said: Option<bool>) -> Speech {
        speech(address.parse().expect("an address"), said)
    }

    #[test]
    fn loopback_is_plain_and_all_else_is_not() {
        for address in ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(on(address, None), Speech::Plain, "{address}");
        }
        for address in ["10.0.0.1", "0.0.0.0", "::", "128.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(on(address, None), Speech::Tls, "{address}");
        }
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        assert_eq!(on("127.0.0.1", Some(true)), Speech::Tls);
        assert_eq!(on("127.0.0.1", Some(false)), Speech::Plain);
        assert_eq!(on("10.0.0.1", Some(false)), Speech::InTheOpen);
        assert_eq!(on("0.0.0.0", Some(true)), Speech::Tls);
    }

    #[test]
    fn the_catalog_speaks_as_the_api_does_unless_it_has_a_word_of_its_own() {
        let read = |http, catalog| {
            let faces = Faces::of(&TlsBlock { http, catalog, ..TlsBlock::default() });
            (faces.http, faces.catalog)
        };
        assert_eq!(read(None, None), (None, None));
        assert_eq!(read(Some(true), None), (Some(true), Some(true)));
        assert_eq!(read(None, Some(false)), (None, Some(false)));
        assert_eq!(read(Some(true), Some(false)), (Some(true), Some(false)));
    }
}
