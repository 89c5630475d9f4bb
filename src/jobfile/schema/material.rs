//! What a task finds and who it is: artifacts, templates, Vault, identities, secrets.

use super::{Schema, any, choice, duration, flag, map, one, text, texts, whole};

pub(super) static ARTIFACT: Schema = Schema {
    attributes: &[
        text("source", "GetterSource").or_null().required("where it comes from"),
        choice("mode", "GetterMode", &["any", "file", "dir"]).or("any"),
        flag("insecure", "GetterInsecure"),
        // Unset: `local/`, and the source's own name in it for a single file.
        text("destination", "RelativeDest").or_null(),
        flag("chown", "Chown"),
    ],
    blocks: &[map("options", "GetterOptions"), map("headers", "GetterHeaders")],
    open: false,
};

pub(super) static TEMPLATE: Schema = Schema {
    attributes: &[
        text("source", "SourcePath"),
        text("destination", "DestPath"),
        text("data", "EmbeddedTmpl"),
        choice("change_mode", "ChangeMode", &["restart", "noop", "signal", "script"]).or("restart"),
        // Unset: SIGHUP for `signal`. Always upper case.
        text("change_signal", "ChangeSignal").or_null(),
        flag("once", "Once"),
        duration("splay", "Splay").or_seconds(5),
        text("perms", "Perms").or("0644"),
        whole("uid", "Uid", -1, i32::MAX as i64).or_null(),
        whole("gid", "Gid", -1, i32::MAX as i64).or_null(),
        text("left_delimiter", "LeftDelim").or("{{"),
        text("right_delimiter", "RightDelim").or("}}"),
        flag("env", "Envvars"),
        duration("vault_grace", "VaultGrace").gone(),
        flag("error_on_missing_key", "ErrMissingKey"),
    ],
    blocks: &[
        one("change_script", "ChangeScript", || &CHANGE_SCRIPT),
        one("wait", "Wait", || &WAIT).later(),
    ],
    open: false,
};

static CHANGE_SCRIPT: Schema = Schema {
    attributes: &[
        text("command", "Command").required("the command to run when the template changed"),
        texts("args", "Args").or_empty(),
        duration("timeout", "Timeout").or_seconds(5),
        flag("fail_on_error", "FailOnError"),
        flag("run_on_first_render", "RunOnFirstRender").later(),
    ],
    blocks: &[],
    open: false,
};

static WAIT: Schema = Schema {
    attributes: &[duration("min", "Min").or_null(), duration("max", "Max").or_null()],
    blocks: &[],
    open: false,
};

pub(super) static VAULT: Schema = Schema {
    attributes: &[
        texts("policies", "Policies").gone(),
        text("role", "Role"),
        text("namespace", "Namespace"),
        text("cluster", "Cluster").or("default"),
        flag("env", "Env").or_flag(true),
        flag("disable_file", "DisableFile"),
        choice("change_mode", "ChangeMode", &["restart", "noop", "signal"]).or("restart"),
        text("change_signal", "ChangeSignal").or("SIGHUP"),
        flag("allow_token_expiration", "AllowTokenExpiration"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static CONSUL: Schema = Schema {
    attributes: &[
        text("namespace", "Namespace"),
        text("cluster", "Cluster").or("default"),
        text("partition", "Partition"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static IDENTITY: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        texts("aud", "Audience"),
        choice("change_mode", "ChangeMode", &["", "noop", "restart", "signal"]),
        text("change_signal", "ChangeSignal"),
        flag("env", "Env"),
        flag("file", "File"),
        text("filepath", "Filepath"),
        text("service_name", "ServiceName"),
        duration("ttl", "TTL"),
        texts("extra_claims", "ExtraClaims"),
    ],
    blocks: &[],
    open: false,
};

pub(super) static SECRET: Schema = Schema {
    attributes: &[
        text("provider", "Provider").required("who keeps it: nomad, vault or a plugin"),
        text("path", "Path").required("where it is kept"),
    ],
    blocks: &[any("config", "Config"), map("env", "Env")],
    open: false,
};
