//! The same job in other clothes.

use jobfile::{Inputs, Parsed, Source, parse};

fn read(path: &str, text: &str) -> Parsed {
    parse(Source { path, bytes: text.as_bytes() }, &Inputs::default())
}

fn job(path: &str, text: &str) -> model::Job {
    let parsed = read(path, text);
    assert_eq!(parsed.diagnostics, [], "{text}");
    parsed.jobs.into_iter().next().expect("has a job")
}

const HCL: &str = r#"job "a" {
  group "g" {
    network {
      dynamic "port" {
        for_each = ["x", "y"]
        iterator = each
        labels   = [each.value]
        content {
          to = each.key + 1
        }
      }
    }
    task "t" {
      driver = "exec"
      config {
        args = [<<EOF
one
two
EOF
        ]
      }
    }
  }
}
"#;

#[test]
fn line_ends_and_marks_of_windows_change_nothing_else() {
    let plain = job("a.hcl", HCL);
    let marked = job("a.hcl", &format!("\u{feff}{HCL}"));
    assert_eq!(plain, marked);
    let windows = job("a.hcl", &HCL.replace('\n', "\r\n"));
    assert_eq!(windows.task_groups[0].tasks[0].config["args"][0], "one\r\ntwo\r\n");
    assert_eq!(plain.task_groups[0].tasks[0].config["args"][0], "one\ntwo\n");
}

#[test]
fn yaml_has_dynamic_blocks_and_validations_too() {
    let yaml = r#"
variable:
  n:
    type: number
    default: 3
    validation:
      - condition: var.n > 2
        error_message: too small
job:
  a:
    group:
      g:
        network:
          dynamic:
            port:
              for_each: [x, y]
              iterator: each
              labels: ["${each.value}"]
              content:
                to: ${each.key + 1}
        task:
          t:
            driver: exec
            config:
              args:
                - |
                  one
                  two
"#;
    assert_eq!(job("a.yaml", yaml), job("a.hcl", HCL));
    let small = read("a.yaml", &yaml.replace("default: 3", "default: 1"));
    assert_eq!(small.diagnostics[0].message, "the variable `n` is not valid: too small");
}

#[test]
fn blocks_may_be_lists_and_attributes_maps() {
    let one = job("a.yaml", "job: {a: {group: {g: {task: {t: {driver: exec, env: {A: 1}}}}}}}");
    let two = job(
        "a.yaml",
        "job: [{a: [{group: [{g: [{task: [{t: [{driver: exec, env: [{A: 1}]}]}]}]}]}]}]",
    );
    let hcl = |env: &str| {
        let text =
            format!("job a {{\n group g {{\n task t {{\n driver = \"exec\"\n {env}\n}}\n}}\n}}");
        job("a.hcl", &text)
    };
    assert_eq!(one, two);
    assert_eq!(one, hcl("env = { A = 1 }"));
    assert_eq!(one, hcl("env { A = \"1\" }"));
}

#[test]
fn findings_have_lines_and_columns_in_characters() {
    let found = read("a.hcl", "job \"ä\" {\n  tüpe = 1\n}\n").diagnostics;
    let places: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
    assert_eq!(places, [("no-groups", 1, 1), ("unknown-attribute", 2, 3)]);
    assert_eq!(found[1].span, Some((13, 18)));
    assert_eq!(found[1].to_string(), "a.hcl:2:3: `job` has no attribute `tüpe`");
}

#[test]
fn what_is_inherited_is_overlaid_field_by_field() {
    let text = r#"job "a" {
  update {
    max_parallel     = 3
    min_healthy_time = "20s"
  }
  group "plain" {
    task "t" { driver = "exec" }
  }
  group "own" {
    update { max_parallel = 5 }
    task "t" { driver = "exec" }
  }
  group "off" {
    update { max_parallel = 0 }
    task "t" { driver = "exec" }
  }
}
"#;
    let job = job("a.hcl", text);
    let update = |group: &str| {
        let update = job.group(group).expect("is there").update.as_ref()?;
        Some((update.max_parallel, update.min_healthy_time.as_secs()))
    };
    assert_eq!(update("plain"), Some((3, 20)));
    assert_eq!(update("own"), Some((5, 20)));
    assert_eq!(update("off"), Some((0, 20)));
}

#[test]
fn types_of_jobs_have_their_own_defaults() {
    let read = |kind: &str| {
        let text = format!(
            "job a {{\n type = \"{kind}\"\n group g {{\n task t {{\n driver = \"exec\"\n}}\n}}\n}}"
        );
        job("a.hcl", &text).task_groups.remove(0)
    };
    for (kind, update, reschedule, migrate, attempts) in [
        ("service", true, true, true, 2),
        ("batch", false, true, false, 3),
        ("system", true, false, false, 2),
        ("sysbatch", false, false, false, 3),
    ] {
        let group = read(kind);
        assert_eq!(group.update.is_some(), update, "{kind}");
        assert_eq!(group.reschedule_policy.is_some(), reschedule, "{kind}");
        assert_eq!(group.migrate.is_some(), migrate, "{kind}");
        assert_eq!(group.restart_policy.attempts, attempts, "{kind}");
    }
}

#[test]
fn mistakes_of_syntax_and_of_meaning_are_told_together() {
    let text = r#"variable "n" {
  default = 'x'
}
job "a" {
  tpye = "service"
  group "g" {
    count: 2
    task "t" {
      driver = "exec"
      config {
        args = ["a", "b"
        command = upper("x"
      }
      resources { cpu = 100, memory = "much" }
    }
  }
}
"#;
    let found = read("a.nomad.hcl", text).diagnostics;
    let places: Vec<_> = found.iter().map(|f| (f.line, f.code.as_str())).collect();
    let expected = [
        (2, "syntax"),
        (5, "unknown-attribute"),
        (7, "syntax"),
        (12, "syntax"),
        (13, "syntax"),
        (14, "syntax"),
        (14, "wrong-type"),
    ];
    assert_eq!(places, expected, "{found:#?}");
}

#[test]
fn json_is_hcl_in_other_clothes() {
    let json = r#"{
  "//": "a comment",
  "variable": {"n": {"type": "number", "default": 3}},
  "job": {"a": [{
    "//": "another",
    "group": {"g": {"count": "${var.n}", "task": [{"t": {"driver": "exec", "env": {"A": "x${var.n}"}}}]}}
  }]}
}"#;
    let hcl = r#"job "a" {
  group "g" {
    count = 3
    task "t" {
      driver = "exec"
      env {
        A = "x3"
      }
    }
  }
}"#;
    assert_eq!(job("a.nomad", json), job("a.nomad", hcl));
    let twice = json.replace("\"count\":", "\"count\": 1, \"count\":");
    assert_eq!(read("a.nomad", &twice).diagnostics[0].code, "duplicate-attribute");
    let comma = json.replace("\"x${var.n}\"", "\"x${var.n\"");
    let found = read("a.nomad", &comma).diagnostics;
    assert_eq!((found[0].line, found[0].column), (6, 91), "{found:#?}");
    assert_eq!(found[0].message, "this `${` is not closed");
}
