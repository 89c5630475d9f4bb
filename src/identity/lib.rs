//! Who is who in a fleet: the authority that signs certificates, the keys and certificates of nodes, the token that lets
//! a new machine in, and the TLS configurations that hold all of it.
//!
//! A node's identity is its key. The authority binds the key to a cluster, a role and a node ID, written as one URI into
//! a certificate that lives for days and is renewed while connections stay open. Who asks for a certificate proves that
//! it has the key; everything else in the certificate comes from a [`Grant`], never from the request.
//!
//! What never belongs here: sockets, files, what a role is allowed to do, and who has been removed from the cluster.

mod authority;
mod clock;
mod error;
mod ids;
mod key;
mod leaf;
mod peer;
mod pem;
mod secret;
mod tls;
mod token;
mod trust;

pub use authority::{Authority, DEFAULT_LIFETIME, Grant};
pub use clock::Clock;
pub use error::{CertificateError, TokenError};
pub use ids::{ClusterId, Fingerprint};
pub use key::NodeKey;
pub use leaf::{Bearer, Leaf, is_region, node_of};
pub use peer::{Peer, Role};
pub use secret::SecretText;
pub use tls::{
    ALPN, ClientTls, Credentials, ServerTls, WebTls, explain, is_our_certificate_refused,
};
pub use token::{JoinToken, SecretHash, TokenId};
pub use trust::Trust;
