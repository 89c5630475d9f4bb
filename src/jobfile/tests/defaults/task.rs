//! Of tasks, and what they are given.

use serde_json::json;

use super::{GROUP, SECOND, TASK, holds_at, job};

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
