//! Of jobs, and of the policies that they hand down.

use jobfile::{Inputs, Source, parse};
use serde_json::json;

use super::{GROUP, HOUR, MINUTE, SECOND, canonical, holds, holds_at, job};

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
