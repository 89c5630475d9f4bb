//! Where a change is: for the table of classes, and in the words of a job file for people.

/// What a walk goes through.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// A job without its groups.
    Job,
    /// A group of this name without its tasks.
    Group(String),
    /// A task.
    Task {
        /// Its group.
        group: String,
        /// Its name.
        task: String,
        /// Its place in the group.
        at: usize,
    },
}

impl Scope {
    /// The first part of a pattern.
    pub(super) const fn pattern(&self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Group(_) => "group",
            Self::Task { .. } => "task",
        }
    }

    fn words(&self) -> Vec<String> {
        match self {
            Self::Job => Vec::new(),
            Self::Group(group) => vec![format!("group \"{group}\"")],
            Self::Task { group, task, .. } => {
                vec![format!("group \"{group}\""), format!("task \"{task}\"")]
            }
        }
    }
}

/// A step down from the scope.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A field or a block that is there once at most.
    Key(String),
    /// A block of a list, with what tells it from the others.
    Entry(String, String),
    /// An entry of a map, or a leaf of free settings.
    Leaf(String),
}

impl Step {
    /// The part of a pattern.
    pub(super) fn pattern(&self) -> &str {
        match self {
            Self::Key(key) | Self::Entry(key, _) => key,
            // `args[0]` is part of `args`.
            Self::Leaf(leaf) => leaf.split('[').next().unwrap_or(leaf),
        }
    }
}

/// The place in the words of a job file: `group "web" task "app" config.image`.
pub(super) fn words(scope: &Scope, steps: &[Step]) -> String {
    let mut out = scope.words().join(" ");
    let mut inside = false;
    for step in steps {
        let (word, dotted, opens) = match step {
            Step::Key(key) => (spelled(key), inside, true),
            Step::Entry(key, label) if label.is_empty() => (entry(key), inside, false),
            Step::Entry(key, label) => (format!("{} \"{label}\"", entry(key)), inside, false),
            Step::Leaf(leaf) => (leaf.clone(), true, true),
        };
        if !out.is_empty() {
            out.push(if dotted { '.' } else { ' ' });
        }
        out.push_str(&word);
        inside = opens;
    }
    out
}

/// Names that job files spell otherwise than their JSON.
const SPELLED: &[(&str, &str)] = &[
    ("Actions", "action"),
    ("Affinities", "affinity"),
    ("Artifacts", "artifact"),
    ("Audience", "aud"),
    ("CSIPluginConfig", "csi_plugin"),
    ("Checks", "check"),
    ("Constraints", "constraint"),
    ("DestPath", "destination"),
    ("DynamicPorts", "port"),
    ("EmbeddedTmpl", "data"),
    ("Envvars", "env"),
    ("ErrMissingKey", "error_on_missing_key"),
    ("ExcludeOutboundCIDRs", "exclude_outbound_cidrs"),
    ("ExcludeUIDs", "exclude_uids"),
    ("GetterHeaders", "headers"),
    ("GetterInsecure", "insecure"),
    ("GetterMode", "mode"),
    ("GetterOptions", "options"),
    ("GetterSource", "source"),
    ("Identities", "identity"),
    ("LTarget", "attribute"),
    ("LeftDelim", "left_delimiter"),
    ("Links", "link"),
    ("Listeners", "listener"),
    ("LogConfig", "logs"),
    ("MBits", "mbits"),
    ("MaxFileSizeMB", "max_file_size"),
    ("MemoryMB", "memory"),
    ("MemoryMaxMB", "memory_max"),
    ("DiskMB", "disk"),
    ("Networks", "network"),
    ("Operand", "operator"),
    ("ParameterizedJob", "parameterized"),
    ("Paths", "path"),
    ("PortLabel", "port"),
    ("RTarget", "value"),
    ("Regions", "region"),
    ("RelativeDest", "destination"),
    ("ReschedulePolicy", "reschedule"),
    ("ReservedPorts", "port"),
    ("RestartPolicy", "restart"),
    ("RightDelim", "right_delimiter"),
    ("SELinuxLabel", "selinux_label"),
    ("ScalingPolicies", "scaling"),
    ("Secrets", "secret"),
    ("SecretsMB", "secrets"),
    ("Services", "service"),
    ("SizeMB", "size"),
    ("SourcePath", "source"),
    ("Spec", "cron"),
    ("Specs", "crons"),
    ("SpreadTarget", "target"),
    ("Spreads", "spread"),
    ("TaskName", "task"),
    ("Templates", "template"),
    ("VolumeMounts", "volume_mount"),
    ("Volumes", "volume"),
];

/// The name of a block of a list.
fn entry(key: &str) -> String {
    if key == "Devices" { "device".to_owned() } else { spelled(key) }
}

/// `KillTimeout` as `kill_timeout`, `TLSSkipVerify` as `tls_skip_verify`, `PortLabel` as `port`.
pub(super) fn spelled(key: &str) -> String {
    if let Some((_, word)) = SPELLED.iter().find(|(name, _)| *name == key) {
        return (*word).to_owned();
    }
    let chars: Vec<char> = key.chars().collect();
    let mut out = String::with_capacity(key.len() + 4);
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        let begins = before.is_some_and(|c| c.is_lowercase())
            || (before.is_some_and(|c| c.is_uppercase())
                && chars.get(at + 1).is_some_and(|c| c.is_lowercase()));
        if c.is_uppercase() && begins {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_in_job_files() {
        for (key, word) in [
            ("KillTimeout", "kill_timeout"),
            ("TLSSkipVerify", "tls_skip_verify"),
            ("GRPCUseTLS", "grpc_use_tls"),
            ("CPU", "cpu"),
            ("EnvoyDNSDiscoveryType", "envoy_dns_discovery_type"),
            ("NoDNS", "no_dns"),
            ("PortLabel", "port"),
            ("Priority", "priority"),
        ] {
            assert_eq!(spelled(key), word);
        }
    }

    #[test]
    fn a_place_reads_like_a_job_file() {
        let task = Scope::Task { group: "web".into(), task: "app".into(), at: 0 };
        let key = |key: &str| Step::Key(key.into());
        let entry = |key: &str, label: &str| Step::Entry(key.into(), label.into());
        for (scope, steps, text) in [
            (
                task.clone(),
                vec![key("Config"), Step::Leaf("image".into())],
                "group \"web\" task \"app\" config.image",
            ),
            (task, vec![key("KillTimeout")], "group \"web\" task \"app\" kill_timeout"),
            (
                Scope::Group("web".into()),
                vec![entry("Networks", ""), entry("DynamicPorts", "http"), key("To")],
                "group \"web\" network port \"http\" to",
            ),
            (Scope::Job, vec![key("Meta"), Step::Leaf("team".into())], "meta.team"),
            (
                Scope::Group("web".into()),
                vec![entry("Services", "api"), key("CheckRestart"), key("Limit")],
                "group \"web\" service \"api\" check_restart.limit",
            ),
        ] {
            assert_eq!(words(&scope, &steps), text);
        }
    }
}
