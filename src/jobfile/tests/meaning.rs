//! Equal meaning, equal identity: order, comments, sugar and spelled out defaults make no difference; anything else does.

use jobfile::{Inputs, Source, parse};

fn job(text: &str) -> model::Job {
    let path = if text.trim_start().starts_with("job:") { "j.yaml" } else { "j.nomad.hcl" };
    let mut parsed = parse(Source { path, bytes: text.as_bytes() }, &Inputs::default());
    assert!(!parsed.has_errors(), "{text}\n{:#?}", parsed.diagnostics);
    parsed.jobs.remove(0)
}

const PLAIN: &str = r#"
job "web" {
  group "app" {
    count = 2
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      port "http" { to = 8080 }
      port "admin" { static = 9000 }
    }
    service {
      name = "web"
      port = "http"
      check {
        type     = "http"
        path     = "/"
        interval = "10s"
        timeout  = "2s"
      }
    }
    task "app" {
      driver = "docker"
      config {
        image = "web:1"
        args  = ["-a", "b"]
        labels { team = "x" }
      }
      env { A = "1" }
      kill_timeout = "90s"
    }
    task "side" {
      driver = "docker"
      config { image = "side:1" }
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
    }
  }
}
"#;

/// Other ways to write [`PLAIN`].
const SAME: [(&str, &str); 4] = [
    (
        "defaults spelled out",
        r#"
job "web" {
  id          = "web"
  name        = "web"
  region      = "global"
  namespace   = "default"
  type        = "service"
  priority    = 50
  all_at_once = false
  datacenters = ["*"]
  node_pool   = "default"
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "5m"
    progress_deadline = "10m"
    auto_revert       = false
    auto_promote      = false
    canary            = 0
  }
  group "app" {
    count = 2
    constraint {
      attribute = "${attr.kernel.name}"
      operator  = "="
      value     = "linux"
    }
    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }
    reschedule {
      attempts       = 0
      interval       = "0s"
      delay          = "30s"
      delay_function = "exponential"
      max_delay      = "1h"
      unlimited      = true
    }
    migrate {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "10s"
      healthy_deadline = "5m"
    }
    ephemeral_disk {
      size    = 300
      sticky  = false
      migrate = false
    }
    network {
      port "http" { to = 8080 }
      port "admin" { static = 9000 }
    }
    service {
      name         = "web"
      port         = "http"
      provider     = "consul"
      address_mode = "auto"
      on_update    = "require_healthy"
      tags         = []
      check {
        name     = "service: \"web\" check"
        type     = "http"
        path     = "/"
        method   = "GET"
        protocol = "http"
        interval = "10s"
        timeout  = "2s"
      }
    }
    task "app" {
      driver = "docker"
      config {
        image = "web:1"
        args  = ["-a", "b"]
        labels { team = "x" }
      }
      env { A = "1" }
      kill_timeout   = "90s"
      shutdown_delay = "0s"
      leader         = false
      resources {
        cpu    = 100
        memory = 300
      }
      logs {
        max_files     = 10
        max_file_size = 10
        disabled      = false
      }
    }
    task "side" {
      driver = "docker"
      config { image = "side:1" }
      lifecycle {
        hook    = "prestart"
        sidecar = true
      }
      restart {
        attempts = 2
      }
    }
  }
}
"#,
    ),
    (
        "in another order, with comments",
        r#"
# what it is for
job "web" {
  group "app" {
    task "side" {
      lifecycle {
        sidecar = true // beside
        hook    = "prestart"
      }
      config { image = "side:1" }
      driver = "docker"
    }
    task "app" {
      kill_timeout = "90s"
      env { A = "1" }
      config {
        labels { team = "x" }
        args  = ["-a", "b"]
        image = "web:1"
      }
      driver = "docker"
    }
    service {
      check {
        timeout  = "2s"
        interval = "10s"
        path     = "/"
        type     = "http"
      }
      port = "http"
      name = "web"
    }
    network {
      port "admin" { static = 9000 }
      port "http" { to = 8080 }
    }
    constraint {
      value     = "linux"
      attribute = "${attr.kernel.name}"
    }
    count = 2 /* two */
  }
}
"#,
    ),
    (
        "with sugar, expressions and other spellings",
        r#"
variables { image = "web" }
locals {
  labels = { team = "x" }
  ports  = { http = { to = 8080 } }
}
job "web" {
  group "app" {
    count = "2"
    constraint {
      attribute = "${attr.kernel.name}"
      value     = "linux"
    }
    network {
      dynamic "port" {
        for_each = local.ports
        labels   = [port.key]
        content {
          to = port.value.to
        }
      }
      port "admin" { static = "9000" }
    }
    service {
      name = "${JOB}"
      port = "http"
      check {
        type     = "http"
        path     = "/"
        interval = 10000000000
        timeout  = "2000ms"
      }
    }
    task "app" {
      driver = "docker"
      config {
        image  = "${var.image}:1"
        args   = concat([for a in ["a"] : "-${a}"], ["b"])
        labels = local.labels
      }
      env = { "A" = 1 }
      kill_timeout = "1m30s"
    }
    task "side" {
      driver = "docker"
      config { image = format("%s:%d", "side", 1) }
      lifecycle {
        hook    = "prestart"
        sidecar = "true"
      }
    }
  }
}
"#,
    ),
    (
        "as YAML",
        r#"
job:
  web:
    group:
      app:
        count: 2
        constraint:
          - attribute: ${attr.kernel.name}
            value: linux
        network:
          port:
            http: { to: 8080 }
            admin: { static: 9000 }
        service:
          - name: web
            port: http
            check:
              - { type: http, path: /, interval: 10s, timeout: 2s }
        task:
          app:
            driver: docker
            config:
              image: web:1
              args: [-a, b]
              labels: { team: x }
            env: { A: "1" }
            kill_timeout: 90s
          side:
            driver: docker
            config: { image: side:1 }
            lifecycle: { hook: prestart, sidecar: true }
"#,
    ),
];

#[test]
fn the_same_job_in_other_words_is_the_same_job() {
    let plain = job(PLAIN);
    for (how, text) in SAME {
        let other = job(text);
        if other.spec_hash() != plain.spec_hash() {
            let json = |job| serde_json::to_string_pretty(job).expect("serialises");
            differ(how, &json(&plain), &json(&other));
        }
    }
}

fn differ(how: &str, plain: &str, other: &str) {
    let lines: Vec<String> = plain
        .lines()
        .zip(other.lines())
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("{a}   |   {b}"))
        .take(20)
        .collect();
    panic!("{how}:\n{}", lines.join("\n"));
}

#[test]
fn what_groups_inherit_may_stand_in_the_job_or_in_them() {
    let update = "update {\n max_parallel = 2\n }\n";
    let reschedule = "reschedule {\n delay = \"10s\"\n }\n";
    let both = format!("{update}{reschedule}");
    let in_job = PLAIN.replacen("job \"web\" {\n", &format!("job \"web\" {{\n{both}"), 1);
    let in_group = PLAIN.replacen("count = 2\n", &format!("count = 2\n{both}"), 1);
    assert_eq!(job(&in_job).spec_hash(), job(&in_group).spec_hash());
    assert_ne!(job(&in_job).spec_hash(), job(PLAIN).spec_hash());
}

#[test]
fn another_meaning_is_another_job() {
    let plain = job(PLAIN).spec_hash();
    for (from, to) in [
        ("count = 2", "count = 3"),
        ("\"-a\", \"b\"", "\"b\", \"-a\""),
        ("image = \"web:1\"", "image = \"web:2\""),
        ("\"linux\"", "\"darwin\""),
        ("9000", "9001"),
        ("team = \"x\"", "team = \"y\""),
        ("env { A", "env { B"),
        ("\"90s\"", "\"91s\""),
        ("sidecar = true", "sidecar = false"),
        ("path     = \"/\"", "path     = \"/x\""),
    ] {
        let text = PLAIN.replacen(from, to, 1);
        assert_ne!(text, PLAIN, "{from}");
        assert_ne!(job(&text).spec_hash(), plain, "{from} -> {to}");
    }
}

#[test]
fn the_canonical_form_is_stable() {
    for text in [PLAIN, SAME[0].1, SAME[1].1] {
        let job = job(text);
        let bytes = serde_json::to_vec(&job).expect("serialises");
        let again: model::Job = serde_json::from_slice(&bytes).expect("reads");
        assert_eq!(serde_json::to_vec(&again).expect("serialises"), bytes);
        assert_eq!(again.spec_hash(), job.spec_hash());
    }
}
