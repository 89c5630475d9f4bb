//! Certificates that an authority of the user's own signs, by hand and for long: `herder tls cert create`.
//!
//! A cluster's own authority signs a [`crate::Grant`] and nothing else.

use std::net::IpAddr;

use model::NodeId;

use crate::{Fingerprint, Role};

/// Who gets a certificate of an authority of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// An agent.
    Agent {
        /// What it may be.
        role: Role,
        /// Which node it is; `None` for the one that follows from its key.
        node: Option<NodeId>,
    },
    /// A person or a program that asks over HTTP and is asked by nobody.
    Person,
}

/// What such a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// For whom.
    pub bearer: Bearer,
    /// The region.
    pub region: String,
    /// DNS names beside those that follow from the bearer.
    pub names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Leaf {
    /// The name of its role in its region, as Nomad's certificates have it, with our ending.
    pub fn role_name(&self) -> String {
        let role = match &self.bearer {
            Bearer::Agent { role: Role::Server, .. } => "server",
            Bearer::Agent { role: Role::Worker, .. } => "client",
            Bearer::Person => "cli",
        };
        format!("{role}.{}.herder", self.region)
    }

    /// The URI of one whose node is named.
    pub(crate) fn uri(&self) -> Option<String> {
        match &self.bearer {
            Bearer::Agent { role, node: Some(node) } => {
                Some(region_uri(&self.region, *role, *node))
            }
            _ => None,
        }
    }
}

/// A node of a region, as a certificate of an authority of the user's own names it.
pub(crate) fn region_uri(region: &str, role: Role, node: NodeId) -> String {
    format!("spiffe://{region}.herder/{role}/{node}")
}

/// Whether a text can be a region's name.
pub fn is_region(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    (1..=63).contains(&text.len()) && text.chars().all(plain)
}

/// The node that a key makes: a claim that cannot be made without the key.
pub fn node_of(key: &Fingerprint) -> NodeId {
    NodeId::new(model::seeded_uuid(&[b"node", key.as_bytes()]))
}
