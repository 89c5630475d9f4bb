//! What a job is when nothing is said: Nomad's table of defaults, row by row (nomad.md 1.1, all three passes). The
//! place of each row is a pointer into the canonical JSON of the job that stands above it.

use jobfile::{Inputs, Source, parse};
use serde_json::{Value, json};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// The canonical JSON of a job that is `type` and has `inside` in it.
fn canonical(kind: &str, inside: &str) -> Value {
    let text = format!("job \"j\" {{\n  type = \"{kind}\"\n{inside}\n}}\n");
    let parsed = parse(Source { path: "j.nomad.hcl", bytes: text.as_bytes() }, &Inputs::default());
    assert!(!parsed.has_errors(), "{text}\n{:#?}", parsed.diagnostics);
    serde_json::to_value(&parsed.jobs[0]).expect("serialises")
}

/// A job with one task, and something in its group and task.
fn job(kind: &str, group: &str, task: &str) -> Value {
    canonical(
        kind,
        &format!(
            "group \"g\" {{\n{group}\ntask \"t\" {{\ndriver = \"docker\"\nconfig {{\nimage = \"i:1\"\n}}\n{task}\n}}\n}}"
        ),
    )
}

fn holds(job: &Value, rows: &[(&str, Value)]) {
    for (place, expected) in rows {
        let found = job.pointer(place).unwrap_or_else(|| panic!("there is no {place} in {job:#}"));
        assert_eq!(found, expected, "{place}");
    }
}

const GROUP: &str = "/TaskGroups/0";
const TASK: &str = "/TaskGroups/0/Tasks/0";

fn at<'a>(base: &str, rows: &'a [(&'a str, Value)]) -> Vec<(String, Value)> {
    rows.iter().map(|(name, value)| (format!("{base}/{name}"), value.clone())).collect()
}

fn holds_at(job: &Value, base: &str, rows: &[(&str, Value)]) {
    let rows = at(base, rows);
    let rows: Vec<(&str, Value)> =
        rows.iter().map(|(place, value)| (place.as_str(), value.clone())).collect();
    holds(job, &rows);
}

#[test]
fn of_a_job() {
    let found = job("service", "", "");
    holds(
        &found,
        &[
            ("/ID", json!("j")),
            ("/Name", json!("j")),
            ("/Region", json!("global")),
            ("/Namespace", json!("default")),
            ("/Type", json!("service")),
            ("/Priority", json!(50)),
            ("/AllAtOnce", json!(false)),
            ("/Datacenters", json!(["*"])),
            ("/NodePool", json!("default")),
            ("/Constraints", json!(null)),
            ("/Affinities", json!(null)),
            ("/Spreads", json!(null)),
            ("/Periodic", json!(null)),
            ("/ParameterizedJob", json!(null)),
            ("/Multiregion", json!(null)),
            ("/Reschedule", json!(null)),
            ("/Migrate", json!(null)),
            ("/Meta", json!(null)),
            ("/UI", json!(null)),
        ],
    );
    assert_eq!(
        canonical("batch", "group \"g\" {\ntask \"t\" {\ndriver = \"exec\"\n}\n}")["Type"],
        "batch"
    );
}

#[test]
fn the_type_is_service() {
    let text = "job \"j\" {\ngroup \"g\" {\ntask \"t\" {\ndriver = \"exec\"\n}\n}\n}";
    let parsed = parse(Source { path: "j.hcl", bytes: text.as_bytes() }, &Inputs::default());
    assert_eq!(parsed.jobs[0].kind, model::JobType::Service);
}

#[test]
fn of_a_group() {
    let found = job("service", "", "");
    holds_at(
        &found,
        GROUP,
        &[
            ("Name", json!("g")),
            ("Count", json!(1)),
            ("Volumes", json!(null)),
            ("Networks", json!(null)),
            ("Services", json!(null)),
            ("Disconnect", json!(null)),
            ("Scaling", json!(null)),
            ("Consul", json!(null)),
            ("Meta", json!(null)),
            ("ShutdownDelay", json!(null)),
            ("MaxRunDuration", json!(null)),
            ("StopAfterClientDisconnect", json!(null)),
            ("MaxClientDisconnect", json!(null)),
            ("PreventRescheduleOnLost", json!(null)),
            ("EphemeralDisk/SizeMB", json!(300)),
            ("EphemeralDisk/Sticky", json!(false)),
            ("EphemeralDisk/Migrate", json!(false)),
        ],
    );
    let scaled = job("service", "scaling {\nmin = 3\nmax = 9\n}", "");
    holds_at(
        &scaled,
        GROUP,
        &[
            ("Count", json!(3)),
            ("Scaling/Min", json!(3)),
            ("Scaling/Max", json!(9)),
            ("Scaling/Enabled", json!(true)),
            ("Scaling/Type", json!("horizontal")),
            ("Scaling/Policy", json!(null)),
        ],
    );
    let counted = job("service", "count = 4\nscaling {\nmax = 9\n}", "");
    holds_at(&counted, GROUP, &[("Count", json!(4)), ("Scaling/Min", json!(4))]);
}

#[test]
fn of_a_task() {
    let found = job("service", "", "");
    holds_at(
        &found,
        TASK,
        &[
            ("Name", json!("t")),
            ("User", json!("")),
            ("Env", json!(null)),
            ("Meta", json!(null)),
            ("KillTimeout", json!(5 * SECOND)),
            ("KillSignal", json!("")),
            ("ShutdownDelay", json!(0)),
            ("Leader", json!(false)),
            ("Kind", json!("")),
            ("Lifecycle", json!(null)),
            ("Artifacts", json!(null)),
            ("Templates", json!(null)),
            ("Vault", json!(null)),
            ("Consul", json!(null)),
            ("Identity", json!(null)),
            ("Identities", json!(null)),
            ("Secrets", json!(null)),
            ("VolumeMounts", json!(null)),
            ("DispatchPayload", json!(null)),
            ("ScalingPolicies", json!(null)),
            ("Actions", json!(null)),
            ("Schedule", json!(null)),
            ("Resources/CPU", json!(100)),
            ("Resources/Cores", json!(0)),
            ("Resources/MemoryMB", json!(300)),
            ("Resources/MemoryMaxMB", json!(null)),
            ("Resources/DiskMB", json!(null)),
            ("Resources/SecretsMB", json!(null)),
            ("Resources/Devices", json!(null)),
            ("Resources/NUMA", json!(null)),
            ("LogConfig/MaxFiles", json!(10)),
            ("LogConfig/MaxFileSizeMB", json!(10)),
            ("LogConfig/Disabled", json!(false)),
        ],
    );
    assert!(found.pointer(&format!("{TASK}/CSIPluginConfig")).is_none());
    let cores = job("service", "", "resources {\ncores = 2\n}");
    holds_at(&cores, TASK, &[("Resources/CPU", json!(0)), ("Resources/Cores", json!(2))]);
}

#[test]
fn of_resources_inner_blocks() {
    let found = job("service", "", "resources {\ndevice \"gpu\" {}\nnuma {}\n}");
    holds_at(
        &found,
        TASK,
        &[
            ("Resources/Devices/0/Name", json!("gpu")),
            ("Resources/Devices/0/Count", json!(1)),
            ("Resources/NUMA/Affinity", json!("none")),
            ("Resources/NUMA/Devices", json!(null)),
        ],
    );
}

#[test]
fn of_a_network() {
    let found = job("service", "network {\nport \"a\" {}\nport \"b\" {\nstatic = 80\n}\n}", "");
    holds_at(
        &found,
        GROUP,
        &[
            ("Networks/0/Mode", json!("")),
            ("Networks/0/Hostname", json!("")),
            ("Networks/0/DNS", json!(null)),
            ("Networks/0/CNI", json!(null)),
            ("Networks/0/DynamicPorts/0/Label", json!("a")),
            ("Networks/0/DynamicPorts/0/Value", json!(0)),
            ("Networks/0/DynamicPorts/0/To", json!(0)),
            ("Networks/0/DynamicPorts/0/HostNetwork", json!("")),
            ("Networks/0/DynamicPorts/0/IgnoreCollision", json!(false)),
            ("Networks/0/ReservedPorts/0/Label", json!("b")),
            ("Networks/0/ReservedPorts/0/Value", json!(80)),
        ],
    );
}

#[test]
fn of_services() {
    let network = "network {\nport \"http\" {}\n}\n";
    let found = job(
        "service",
        &format!("{network}service {{\nport = \"http\"\n}}"),
        "service {\nport = \"http\"\nweights {}\n}\nservice {\nname = \"${TASK}-x\"\nport = \"http\"\n}",
    );
    holds_at(
        &found,
        GROUP,
        &[
            ("Services/0/Name", json!("j-g")),
            ("Services/0/Provider", json!("consul")),
            ("Services/0/AddressMode", json!("auto")),
            ("Services/0/Address", json!("")),
            ("Services/0/Tags", json!(null)),
            ("Services/0/CanaryTags", json!(null)),
            ("Services/0/Meta", json!(null)),
            ("Services/0/CanaryMeta", json!(null)),
            ("Services/0/TaggedAddresses", json!(null)),
            ("Services/0/EnableTagOverride", json!(false)),
            ("Services/0/TaskName", json!("")),
            ("Services/0/OnUpdate", json!("require_healthy")),
            ("Services/0/Weights", json!(null)),
            ("Services/0/Cluster", json!("default")),
            ("Services/0/Kind", json!("")),
            ("Services/0/Connect", json!(null)),
            ("Services/0/Identity", json!(null)),
            ("Services/0/CheckRestart", json!(null)),
        ],
    );
    holds_at(
        &found,
        TASK,
        &[
            ("Services/0/Name", json!("j-g-t")),
            ("Services/0/TaskName", json!("t")),
            ("Services/0/Weights/Passing", json!(1)),
            ("Services/0/Weights/Warning", json!(1)),
            ("Services/1/Name", json!("t-x")),
        ],
    );
}

#[test]
fn of_checks() {
    let check = "check {\ntype = \"http\"\npath = \"/\"\ninterval = \"10s\"\ntimeout = \"2s\"";
    let found = job(
        "service",
        &format!(
            "network {{\nport \"http\" {{}}\n}}\nservice {{\nname = \"s\"\nport = \"http\"\n{check}\n}}\n{check}\n\
             check_restart {{\nlimit = 2\n}}\n}}\n}}"
        ),
        "",
    );
    holds_at(
        &found,
        &format!("{GROUP}/Services/0/Checks/0"),
        &[
            ("Name", json!("service: \"s\" check")),
            // Nomad does not write out these two; they mean GET and http.
            ("Method", json!("")),
            ("Protocol", json!("")),
            ("PortLabel", json!("")),
            ("AddressMode", json!("")),
            ("InitialStatus", json!("")),
            ("SuccessBeforePassing", json!(0)),
            ("FailuresBeforeCritical", json!(0)),
            ("FailuresBeforeWarning", json!(0)),
            ("GRPCService", json!("")),
            ("GRPCUseTLS", json!(false)),
            ("TLSSkipVerify", json!(false)),
            ("TLSServerName", json!("")),
            ("Expose", json!(false)),
            ("Notes", json!("")),
            ("Body", json!("")),
            ("Header", json!(null)),
            ("OnUpdate", json!("require_healthy")),
            ("CheckRestart", json!(null)),
        ],
    );
    holds_at(
        &found,
        &format!("{GROUP}/Services/0/Checks/1/CheckRestart"),
        &[("Limit", json!(2)), ("Grace", json!(SECOND)), ("IgnoreWarnings", json!(false))],
    );
}

#[test]
fn of_updates_and_migrations() {
    let update = [
        ("MaxParallel", json!(1)),
        ("HealthCheck", json!("checks")),
        ("MinHealthyTime", json!(10 * SECOND)),
        ("HealthyDeadline", json!(5 * MINUTE)),
        ("ProgressDeadline", json!(10 * MINUTE)),
        ("AutoRevert", json!(false)),
        ("AutoPromote", json!(false)),
        ("Canary", json!(0)),
        ("Stagger", json!(30 * SECOND)),
    ];
    for kind in ["service", "system"] {
        let found = job(kind, "", "");
        holds_at(&found, "/Update", &update);
        holds_at(&found, &format!("{GROUP}/Update"), &update);
    }
    for kind in ["batch", "sysbatch"] {
        let found = job(kind, "", "");
        holds(&found, &[("/Update", json!(null)), ("/TaskGroups/0/Update", json!(null))]);
    }
    holds_at(
        &job("service", "", ""),
        &format!("{GROUP}/Migrate"),
        &[
            ("MaxParallel", json!(1)),
            ("HealthCheck", json!("checks")),
            ("MinHealthyTime", json!(10 * SECOND)),
            ("HealthyDeadline", json!(5 * MINUTE)),
        ],
    );
    for kind in ["batch", "system", "sysbatch"] {
        holds(&job(kind, "", ""), &[("/TaskGroups/0/Migrate", json!(null))]);
    }
}

#[test]
fn of_restarts() {
    for (kind, attempts, interval) in [
        ("service", 2, 30 * MINUTE),
        ("system", 2, 30 * MINUTE),
        ("batch", 3, 24 * HOUR),
        ("sysbatch", 3, 24 * HOUR),
    ] {
        let found = job(kind, "", "");
        for base in [GROUP, TASK] {
            holds_at(
                &found,
                &format!("{base}/RestartPolicy"),
                &[
                    ("Attempts", json!(attempts)),
                    ("Interval", json!(interval)),
                    ("Delay", json!(15 * SECOND)),
                    ("Mode", json!("fail")),
                    ("RenderTemplates", json!(false)),
                ],
            );
        }
    }
}

#[test]
fn of_reschedules() {
    holds_at(
        &job("service", "", ""),
        &format!("{GROUP}/ReschedulePolicy"),
        &[
            ("Attempts", json!(0)),
            ("Interval", json!(0)),
            ("Delay", json!(30 * SECOND)),
            ("DelayFunction", json!("exponential")),
            ("MaxDelay", json!(HOUR)),
            ("Unlimited", json!(true)),
        ],
    );
    holds_at(
        &job("batch", "", ""),
        &format!("{GROUP}/ReschedulePolicy"),
        &[
            ("Attempts", json!(1)),
            ("Interval", json!(24 * HOUR)),
            ("Delay", json!(5 * SECOND)),
            ("DelayFunction", json!("constant")),
            ("MaxDelay", json!(0)),
            ("Unlimited", json!(false)),
        ],
    );
    for kind in ["system", "sysbatch"] {
        holds(&job(kind, "", ""), &[("/TaskGroups/0/ReschedulePolicy", json!(null))]);
    }
}

#[test]
fn of_disconnects_constraints_affinities_and_spreads() {
    let found = job(
        "service",
        "disconnect {}\nconstraint {\nattribute = \"${attr.kernel.name}\"\nvalue = \"linux\"\n}\naffinity {\n\
         attribute = \"${node.class}\"\nvalue = \"a\"\n}\nspread {\nattribute = \"${node.datacenter}\"\ntarget \"a\" {}\n}",
        "",
    );
    holds_at(
        &found,
        GROUP,
        &[
            ("Disconnect/LostAfter", json!(null)),
            ("Disconnect/StopOnClientAfter", json!(null)),
            ("Disconnect/Replace", json!(true)),
            ("Disconnect/Reconcile", json!("best_score")),
            ("Constraints/0/Operand", json!("=")),
            ("Affinities/0/Operand", json!("=")),
            ("Affinities/0/Weight", json!(50)),
            ("Spreads/0/Weight", json!(50)),
            ("Spreads/0/SpreadTarget/0/Value", json!("a")),
            ("Spreads/0/SpreadTarget/0/Percent", json!(0)),
        ],
    );
}

#[test]
fn of_artifacts_and_templates() {
    let found = job(
        "service",
        "",
        "artifact {\nsource = \"https://a.example/b.tgz\"\n}\nartifact {\nsource = \"https://a.example/b\"\nmode = \"file\"\n}\n\
         template {\ndata = \"x\"\ndestination = \"local/x\"\n}\n\
         template {\ndata = \"y\"\ndestination = \"local/y\"\nchange_mode = \"signal\"\n}\n\
         template {\ndata = \"z\"\ndestination = \"local/z\"\nchange_mode = \"script\"\nchange_script {\ncommand = \"/c\"\n}\nwait {}\n}",
    );
    holds_at(
        &found,
        TASK,
        &[
            ("Artifacts/0/GetterMode", json!("any")),
            ("Artifacts/0/RelativeDest", json!("local/")),
            ("Artifacts/0/GetterOptions", json!(null)),
            ("Artifacts/0/GetterHeaders", json!(null)),
            ("Artifacts/0/GetterInsecure", json!(false)),
            ("Artifacts/0/Chown", json!(false)),
            ("Artifacts/1/RelativeDest", json!("local/b")),
            ("Templates/0/ChangeMode", json!("restart")),
            ("Templates/0/ChangeSignal", json!("")),
            ("Templates/0/ChangeScript", json!(null)),
            ("Templates/0/Envvars", json!(false)),
            ("Templates/0/Once", json!(false)),
            ("Templates/0/Splay", json!(5 * SECOND)),
            ("Templates/0/Perms", json!("0644")),
            ("Templates/0/Uid", json!(null)),
            ("Templates/0/Gid", json!(null)),
            ("Templates/0/LeftDelim", json!("{{")),
            ("Templates/0/RightDelim", json!("}}")),
            ("Templates/0/ErrMissingKey", json!(false)),
            ("Templates/0/Wait", json!(null)),
            ("Templates/0/VaultGrace", json!(0)),
            ("Templates/1/ChangeSignal", json!("SIGHUP")),
            ("Templates/2/ChangeScript/Args", json!([])),
            ("Templates/2/ChangeScript/Timeout", json!(5 * SECOND)),
            ("Templates/2/ChangeScript/FailOnError", json!(false)),
            ("Templates/2/ChangeScript/RunOnFirstRender", json!(false)),
            ("Templates/2/Wait/Min", json!(null)),
            ("Templates/2/Wait/Max", json!(null)),
        ],
    );
}

#[test]
fn of_vault_consul_identities_and_secrets() {
    let found = job(
        "service",
        "consul {}",
        "vault {}\nconsul {}\nidentity {\nenv = true\n}\nidentity {\nname = \"x\"\n}\n\
         secret \"s\" {\nprovider = \"nomad\"\npath = \"p\"\n}",
    );
    holds_at(
        &found,
        TASK,
        &[
            ("Vault/Role", json!("")),
            ("Vault/Namespace", json!("")),
            ("Vault/Cluster", json!("default")),
            ("Vault/Env", json!(true)),
            ("Vault/DisableFile", json!(false)),
            ("Vault/ChangeMode", json!("restart")),
            ("Vault/ChangeSignal", json!("SIGHUP")),
            ("Vault/AllowTokenExpiration", json!(false)),
            ("Vault/Policies", json!(null)),
            ("Consul/Namespace", json!("")),
            ("Consul/Cluster", json!("default")),
            ("Consul/Partition", json!("")),
            ("Identity/Env", json!(true)),
            ("Identity/File", json!(false)),
            ("Identity/Filepath", json!("")),
            ("Identity/ChangeMode", json!("")),
            ("Identity/ChangeSignal", json!("")),
            ("Identity/ServiceName", json!("")),
            ("Identity/TTL", json!(0)),
            ("Identity/Audience", json!(null)),
            ("Identity/ExtraClaims", json!(null)),
            ("Identities/0/Name", json!("x")),
            ("Secrets/0/Name", json!("s")),
            ("Secrets/0/Config", json!(null)),
            ("Secrets/0/Env", json!(null)),
        ],
    );
    holds_at(&found, GROUP, &[("Consul/Cluster", json!("default"))]);
}

#[test]
fn of_volumes_and_plugins() {
    let found = job(
        "service",
        "volume \"v\" {\ntype = \"host\"\nsource = \"data\"\n}",
        "volume_mount {\nvolume = \"v\"\ndestination = \"/d\"\n}\ncsi_plugin {\nid = \"p\"\ntype = \"node\"\n}",
    );
    holds_at(
        &found,
        GROUP,
        &[
            ("Volumes/v/Name", json!("v")),
            ("Volumes/v/ReadOnly", json!(false)),
            ("Volumes/v/Sticky", json!(false)),
            ("Volumes/v/PerAlloc", json!(false)),
            ("Volumes/v/AccessMode", json!("")),
            ("Volumes/v/AttachmentMode", json!("")),
            ("Volumes/v/MountOptions", json!(null)),
        ],
    );
    holds_at(
        &found,
        TASK,
        &[
            ("VolumeMounts/0/ReadOnly", json!(false)),
            ("VolumeMounts/0/PropagationMode", json!("private")),
            ("VolumeMounts/0/SELinuxLabel", json!("")),
            ("CSIPluginConfig/MountDir", json!("/csi")),
            ("CSIPluginConfig/StagePublishBaseDir", json!("/local/csi")),
            ("CSIPluginConfig/HealthTimeout", json!(30 * SECOND)),
        ],
    );
}

#[test]
fn of_jobs_that_wait() {
    let group = "group \"g\" {\ntask \"t\" {\ndriver = \"exec\"\nlifecycle {\nhook = \"prestart\"\n}\n}\ntask \"m\" {\n\
                 driver = \"exec\"\ndispatch_payload {\nfile = \"f\"\n}\n}\n}";
    let found = canonical("batch", &format!("periodic {{\ncrons = [\"@daily\"]\n}}\n{group}"));
    holds(
        &found,
        &[
            ("/Periodic/Enabled", json!(true)),
            ("/Periodic/Spec", json!("")),
            ("/Periodic/Specs", json!(["@daily"])),
            ("/Periodic/SpecType", json!("cron")),
            ("/Periodic/ProhibitOverlap", json!(false)),
            ("/Periodic/TimeZone", json!("UTC")),
            ("/TaskGroups/0/Tasks/0/Lifecycle/Sidecar", json!(false)),
        ],
    );
    let found = canonical("batch", &format!("parameterized {{}}\n{group}"));
    holds(
        &found,
        &[
            ("/ParameterizedJob/Payload", json!("optional")),
            ("/ParameterizedJob/MetaRequired", json!(null)),
            ("/ParameterizedJob/MetaOptional", json!(null)),
        ],
    );
}

#[test]
fn of_multiregion_and_the_mesh() {
    let found = canonical(
        "service",
        "multiregion {\nstrategy {}\nregion \"west\" {}\n}\ngroup \"g\" {\nnetwork {\nmode = \"bridge\"\n}\nservice {\n\
         name = \"s\"\nport = \"9001\"\nconnect {\nsidecar_service {\nproxy {}\n}\nsidecar_task {\nresources {}\n}\n}\n}\n\
         task \"t\" {\ndriver = \"docker\"\nconfig {\nimage = \"i:1\"\n}\n}\n}",
    );
    holds(
        &found,
        &[
            ("/Multiregion/Strategy/MaxParallel", json!(0)),
            ("/Multiregion/Strategy/OnFailure", json!("")),
            ("/Multiregion/Regions/0/Name", json!("west")),
            ("/Multiregion/Regions/0/Count", json!(1)),
            ("/Multiregion/Regions/0/Datacenters", json!([])),
        ],
    );
    holds_at(
        &found,
        &format!("{GROUP}/Services/0/Connect"),
        &[
            ("Native", json!(false)),
            ("Gateway", json!(null)),
            ("SidecarService/DisableDefaultTCPCheck", json!(false)),
            ("SidecarService/Proxy/LocalServicePort", json!(0)),
            ("SidecarTask/KillTimeout", json!(5 * SECOND)),
            ("SidecarTask/ShutdownDelay", json!(0)),
            ("SidecarTask/LogConfig/MaxFiles", json!(10)),
        ],
    );
}
