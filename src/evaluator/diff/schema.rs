//! What the walk must know of a job's JSON: which lists are sets, which blocks are the same block in two versions, and
//! by what names Nomad's plan calls them. All else follows from the values.

use serde_json::Value;

/// A list of blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListRule {
    /// The key in the JSON.
    pub(super) key: &'static str,
    /// What a plan calls one of them.
    pub(super) name: &'static str,
    /// The fields that make it the same block in two versions, the most telling first.
    pub(super) identity: &'static [&'static str],
    /// Whether another order means something else.
    pub(super) ordered: bool,
    /// Whether two that are left over, one of each version, are taken for one that was edited.
    pub(super) pairs: bool,
}

const fn rule(
    key: &'static str,
    name: &'static str,
    identity: &'static [&'static str],
    ordered: bool,
    pairs: bool,
) -> ListRule {
    ListRule { key, name, identity, ordered, pairs }
}

const SET: bool = false;
const ORDERED: bool = true;
const WHOLE: bool = false;
const PAIRED: bool = true;

/// All lists and maps of blocks.
pub(super) const LISTS: &[ListRule] = &[
    rule("Constraints", "Constraint", &[], SET, WHOLE),
    rule("Affinities", "Affinity", &[], SET, WHOLE),
    rule("Spreads", "Spread", &["Attribute"], SET, PAIRED),
    rule("SpreadTarget", "SpreadTarget", &["Value"], SET, WHOLE),
    // Placement uses the first.
    rule("Networks", "Network", &[], ORDERED, PAIRED),
    rule("ReservedPorts", "Static Port", &["Label"], SET, WHOLE),
    rule("DynamicPorts", "Dynamic Port", &["Label"], SET, WHOLE),
    rule("Services", "Service", &["Name", "PortLabel"], SET, PAIRED),
    rule("Checks", "Check", &["Name", "Type", "PortLabel", "Path"], SET, PAIRED),
    // A later one may write over what an earlier one brought.
    rule("Artifacts", "Artifact", &["GetterSource", "RelativeDest"], ORDERED, PAIRED),
    rule("Templates", "Template", &["DestPath"], ORDERED, PAIRED),
    rule("VolumeMounts", "VolumeMount", &["Volume", "Destination"], ORDERED, PAIRED),
    rule("Devices", "Device", &["Name"], SET, WHOLE),
    rule("Identities", "Identities", &["Name"], SET, WHOLE),
    rule("Secrets", "Secret", &["Name"], SET, WHOLE),
    rule("Actions", "Action", &["Name"], SET, WHOLE),
    rule("ScalingPolicies", "ScalingPolicy", &["Type"], SET, WHOLE),
    // Regions are rolled out one after the other, and links are shown in order.
    rule("Regions", "Region", &["Name"], ORDERED, WHOLE),
    rule("Links", "Link", &["Label"], ORDERED, PAIRED),
    rule("Upstreams", "ConsulUpstreams", &["DestinationName", "LocalBindPort"], SET, PAIRED),
    rule("Paths", "Paths", &["Path", "ListenerPort"], SET, PAIRED),
    rule("Path", "Path", &["Path", "ListenerPort"], SET, PAIRED),
    rule("Listeners", "Listener", &["Port"], SET, PAIRED),
    // Maps from names to blocks.
    rule("Volumes", "Volume", &["Name"], SET, WHOLE),
    rule("EnvoyGatewayBindAddresses", "EnvoyGatewayBindAddresses", &["Name"], SET, WHOLE),
];

/// For a list that is not in the table: in order, by position.
const UNKNOWN: ListRule = rule("", "", &[], ORDERED, PAIRED);

/// Maps from names to blocks.
const NAMED: &[&str] = &["Volumes", "EnvoyGatewayBindAddresses"];

/// Maps of texts, shown as fields `Env[KEY]`.
pub(super) const MAPS: &[&str] = &[
    "Env",
    "Meta",
    "CanaryMeta",
    "TaggedAddresses",
    "GetterOptions",
    "GetterHeaders",
    "Args",
    "Add",
    "Set",
    "Target",
];

/// Free settings of any depth, shown as one block of leaves.
pub(super) const FREE: &[&str] = &["Config", "Policy", "Header"];

/// Lists of texts whose order means nothing.
pub(super) const SETS: &[&str] = &[
    "Datacenters",
    "Tags",
    "CanaryTags",
    "Policies",
    "Audience",
    "ExtraClaims",
    "MetaRequired",
    "MetaOptional",
    "Specs",
    "Hosts",
    "Options",
    "Remove",
    "Devices",
    "ExcludeInboundPorts",
    "ExcludeOutboundPorts",
    "ExcludeOutboundCIDRs",
    "ExcludeUIDs",
];

/// Blocks that a plan calls otherwise than their key.
const RENAMED: &[(&str, &str)] = &[
    ("Migrate", "MigrateStrategy"),
    ("Reschedule", "ReschedulePolicy"),
    ("Connect", "ConsulConnect"),
    ("Proxy", "ConsulProxy"),
    ("CNI", "CNIConfig"),
];

/// How a value is compared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A plain value.
    Field,
    /// A map of texts.
    Map,
    /// Free settings.
    Free,
    /// A list of plain values.
    Texts {
        /// Whether another order means something else.
        ordered: bool,
    },
    /// A list of blocks, or a map of them.
    Blocks(ListRule),
    /// A block that is there once at most.
    Block,
}

/// How what stands under a key is compared: by its key and by what the values are.
pub(super) fn kind(key: &str, old: Option<&Value>, new: Option<&Value>) -> Kind {
    let is = |test: fn(&Value) -> bool| old.is_some_and(test) || new.is_some_and(test);
    if is(Value::is_object) {
        return match key {
            key if NAMED.contains(&key) => Kind::Blocks(list(key)),
            key if MAPS.contains(&key) => Kind::Map,
            key if FREE.contains(&key) => Kind::Free,
            _ => Kind::Block,
        };
    }
    let blocks =
        |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
    if is(blocks) {
        return Kind::Blocks(list(key));
    }
    if is(Value::is_array) { Kind::Texts { ordered: !SETS.contains(&key) } } else { Kind::Field }
}

fn list(key: &str) -> ListRule {
    LISTS.iter().find(|rule| rule.key == key).copied().unwrap_or(UNKNOWN)
}

/// What a plan calls a block or list under a key.
pub(super) fn shown_name(key: &str) -> &str {
    RENAMED.iter().find(|(own, _)| *own == key).map_or(key, |(_, name)| name)
}

/// A value that says something: neither null nor an empty text or list. An empty block does: that it is there.
pub(super) fn said(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    })
}
