//! Of groups: networks, services, placement.

use serde_json::json;

use super::{GROUP, HOUR, MINUTE, SECOND, TASK, holds_at, job};

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
