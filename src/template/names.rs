//! Which functions there are.

use crate::functions;

/// Whether a template may call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It may.
    Offered,
    /// consul-template has it, and Herder not yet.
    NotYet,
    /// consul-template has it, and nobody may call it.
    Denied,
    /// Nobody knows it.
    Unknown,
}

/// Functions that need what Herder does not have yet: a catalog to ask, keys, secrets, certificates; and some that few
/// use.
const NOT_YET: &[&str] = &[
    "byKey",
    "byMeta",
    "byPort",
    "byTag",
    "caLeaf",
    "caRoots",
    "call",
    "connect",
    "datacenters",
    "explode",
    "exportedServices",
    "helper",
    "key",
    "keyExists",
    "keyExistsGet",
    "keyOrDefault",
    "ls",
    "node",
    "nodes",
    "nomadService",
    "nomadServices",
    "nomadVar",
    "nomadVarExists",
    "nomadVarList",
    "nomadVarListSafe",
    "partitions",
    "peerings",
    "pkiCert",
    "safeLs",
    "safeTree",
    "secret",
    "secrets",
    "service",
    "services",
    "sockaddr",
    "spew_dump",
    "spew_printf",
    "spew_sdump",
    "spew_sprintf",
    "toTOML",
    "tree",
    "writeToMap",
];

/// What Nomad denies too.
const DENIED: &[&str] = &["plugin", "executeTemplate", "writeToFile"];

/// Whether a template may call a function.
pub fn availability(name: &str) -> Availability {
    if functions::find(name).is_some() {
        Availability::Offered
    } else if DENIED.contains(&name) {
        Availability::Denied
    } else if NOT_YET.contains(&name) || name.starts_with("sprig_") {
        Availability::NotYet
    } else {
        Availability::Unknown
    }
}
