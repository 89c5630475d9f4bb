//! The job of a round.

pub(crate) const HERDER: &str = env!("CARGO_BIN_EXE_herder");

fn job(round: usize, driver: &str, config: &str) -> String {
    format!(
        r#"
job "stamp" {{
  type = "batch"
  group "g" {{
    task "t" {{
      driver = "{driver}"
      env {{
        ROUND = "{round}"
      }}
      config {{
        {config}
      }}
      resources {{
        cpu    = 10
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

/// A process that notes the time.
pub(crate) fn process(round: usize) -> String {
    let own = std::env::current_exe().expect("a path");
    let config =
        format!("command = {own:?}\n        args = [\"--stamp\", \"${{NOMAD_ALLOC_DIR}}/stamp\"]");
    job(round, "raw_exec", &config)
}

/// A container that does.
pub(crate) fn container(round: usize) -> String {
    let config = format!(
        "image = {:?}\n        command = \"/stamp\"\n        args = [\"--stamp\", \"/alloc/stamp\"]\n        network_mode = \"none\"",
        crate::docker::IMAGE
    );
    job(round, "docker", &config)
}
