//! What is said of names that are known and not simply acted on: what happens instead, what was given up and how it is
//! written now.

use crate::report::{Fault, Sink, Span};
use crate::schema::Status;

/// Says what a name's status means to the person who wrote it: once in a file for each name.
pub(crate) fn note(sink: &Sink<'_>, parent: &str, name: &str, status: Status, span: Span) {
    let fault = match status {
        Status::Acted => return,
        Status::Ours => {
            let message = format!("`{name}` is Herder's own; Nomad does not read it");
            return sink.extension(span, message);
        }
        Status::Later => {
            Fault::new("not-acted-on", span, format!("`{name}` in `{parent}` is not acted on yet"))
                .help(instead(parent, name))
        }
        Status::Gone => gone(parent, name, span),
    };
    let key = match status {
        // The same name in groups and tasks is one thing to know.
        Status::Later if matches!(name, "vault" | "secret" | "consul") => name.to_owned(),
        _ => format!("{parent}/{name}"),
    };
    sink.warning_once(key, fault);
}

/// What happens in place of what is asked for.
fn instead(parent: &str, name: &str) -> &'static str {
    match (parent, name) {
        (_, "vault") => "the task starts without a token, and `VAULT_TOKEN` is not set",
        (_, "secret") => "the task starts without it, and `${secret.…}` stays as it is",
        (_, "consul") => "there is one catalog, for all namespaces and partitions",
        (_, "cluster" | "kind") => "there is one catalog; the service is published in it",
        ("job", "multiregion") => {
            "the job runs in this cluster alone, with the counts of its groups"
        }
        ("group", "scaling") => "`count` holds, and nothing changes it",
        ("task", "scaling") => "`resources` hold, and nothing changes them",
        ("ephemeral_disk", "migrate") => {
            "data goes to a replacement on the same node (`sticky`), and not to another node"
        }
        ("task", "identity") => "no token is made: the task starts without it",
        ("template", "wait") => "all that a template is rendered with is there at once",
        ("change_script", "run_on_first_render") => "the script runs when the result changed",
        ("task", "action") => "nobody can run it",
        ("task", "schedule") => "the task runs at all times",
        ("task", "csi_plugin") => "the task runs, and nothing uses it as a plugin",
        ("resources", "numa") => "cores and memory are taken as they come",
        ("service", "connect") => {
            "there is no mesh: the service is published with its own port, and no proxy is started"
        }
        ("service", "canary_meta") => "canaries are published with `meta`",
        ("service", "tagged_addresses") => "the service has the node's address only",
        ("service", "weights") => "all instances count the same",
        ("service", "identity") => "the node registers the service itself and needs no token",
        ("service", "enable_tag_override") => "tags are what the file says",
        ("check", "address_mode" | "advertise") => "the check goes to the port of the node",
        ("check", "expose") => {
            "there is no mesh to let it through: it goes to the port of the node"
        }
        ("check", "failures_before_warning") => {
            "the first warning counts; `failures_before_critical` works"
        }
        ("check", _) => "checks of type grpc and over https do not run yet",
        _ => "the job is used as if it were not there",
    }
}

/// What Nomad has given up: some of it still does something, in its older form.
fn gone(parent: &str, name: &str, span: Span) -> Fault {
    let (message, help) = match (parent, name) {
        ("periodic", "cron") => ("`cron` is the older form of `crons`", "write crons = [ … ]"),
        ("logs", "enabled") => {
            ("`enabled` is the older form of `disabled`", "write disabled = true")
        }
        ("resources", "network") => (
            "a network in `resources` is the older form of the group's `network`",
            "move it to the group: network { port \"name\" {} }",
        ),
        ("resources", "disk") => (
            "`disk` in `resources` is counted nowhere",
            "the group's tasks share a disk: ephemeral_disk { size = … }",
        ),
        ("network", "reserved_ports") => {
            ("`reserved_ports` is the older form of `port`", "write port \"name\" { static = … }")
        }
        ("network", "mbits") => {
            ("`mbits` is counted nowhere: bandwidth is not placed", "delete it")
        }
        ("vault", "policies") => ("`policies` is the older form of `role`", "write role = \"…\""),
        ("update", "stagger") => (
            "`stagger` has no effect any more",
            "`min_healthy_time` is the wait between two batches; delete `stagger`",
        ),
        ("group", "stop_after_client_disconnect") => (
            "`stop_after_client_disconnect` is the older form of `disconnect`",
            "write disconnect { stop_on_client_after = … }",
        ),
        ("group", "max_client_disconnect") => (
            "`max_client_disconnect` is the older form of `disconnect`",
            "write disconnect { lost_after = … }",
        ),
        ("group", "prevent_reschedule_on_lost") => (
            "`prevent_reschedule_on_lost` is the older form of `disconnect`",
            "write disconnect { replace = false }",
        ),
        ("job", "vault_token" | "consul_token" | "nomad_token_id") => {
            return Fault::new("deprecated", span, format!("`{name}` has no effect any more"))
                .help(
                    "a token does not belong into a file of a repository: delete it, and revoke it",
                );
        }
        _ => {
            return Fault::new("deprecated", span, format!("`{name}` has no effect any more"))
                .help("it can be deleted");
        }
    };
    Fault::new("deprecated", span, message).help(help)
}
