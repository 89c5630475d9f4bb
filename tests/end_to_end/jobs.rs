//! Job files for the tests: the example server with quick gates.

/// The binary under test.
pub(crate) const HERDER: &str = env!("CARGO_BIN_EXE_herder");

/// A job of example servers.
#[derive(Clone)]
pub(crate) struct WebJob {
    pub(crate) name: &'static str,
    pub(crate) count: u32,
    pub(crate) max_parallel: u32,
    pub(crate) release: String,
    pub(crate) arguments: Vec<&'static str>,
    pub(crate) update: &'static str,
    pub(crate) driver: Driver,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Driver {
    RawExec,
    Docker,
}

impl WebJob {
    pub(crate) fn new(name: &'static str, count: u32) -> Self {
        Self {
            name,
            count,
            max_parallel: 2,
            release: "1".to_owned(),
            arguments: Vec::new(),
            update: "",
            driver: Driver::RawExec,
        }
    }

    pub(crate) fn release(mut self, release: &str) -> Self {
        release.clone_into(&mut self.release);
        self
    }

    pub(crate) fn argument(mut self, argument: &'static str) -> Self {
        self.arguments.push(argument);
        self
    }

    pub(crate) fn update(mut self, update: &'static str) -> Self {
        self.update = update;
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut arguments =
            vec!["example-server", "--port", "${NOMAD_PORT_http}", "--release", &self.release];
        if self.driver == Driver::Docker {
            arguments.extend(["--bind", "0.0.0.0"]);
        }
        arguments.extend(&self.arguments);
        let arguments: Vec<_> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
        let (driver, config, port) = match self.driver {
            Driver::RawExec => ("raw_exec", format!("command = {HERDER:?}"), "port \"http\" {}"),
            Driver::Docker => (
                "docker",
                format!(
                    "image = {:?}\n        command = \"/herder\"\n        ports = [\"http\"]",
                    crate::docker::HERDER_IMAGE
                ),
                "port \"http\" { to = 8080 }",
            ),
        };
        format!(
            r#"
job "{name}" {{
  group "web" {{
    count = {count}
    network {{
      {port}
    }}
    restart {{
      attempts = 1
      interval = "10s"
      delay    = "100ms"
      mode     = "fail"
    }}
    update {{
      max_parallel      = {max_parallel}
      min_healthy_time  = "200ms"
      healthy_deadline  = "20s"
      progress_deadline = "60s"
      {update}
    }}
    service {{
      name = "{name}"
      port = "http"
      tags = ["release-{release}"]
      check {{
        type     = "http"
        path     = "/health"
        interval = "200ms"
        timeout  = "1s"
      }}
    }}
    task "server" {{
      driver = "{driver}"
      config {{
        {config}
        args = [{arguments}]
      }}
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}
  }}
}}
"#,
            name = self.name,
            count = self.count,
            max_parallel = self.max_parallel,
            release = self.release,
            update = self.update,
            arguments = arguments.join(", "),
        )
    }
}

/// A job that sleeps, for tests that only care that it runs.
pub(crate) fn sleeper(name: &str) -> String {
    format!(
        r#"
job "{name}" {{
  group "g" {{
    update {{
      min_healthy_time  = "50ms"
      healthy_deadline  = "20s"
      progress_deadline = "60s"
    }}
    task "sleep" {{
      driver = "raw_exec"
      config {{
        command = "sleep"
        args    = ["1000"]
      }}
      resources {{
        cpu    = 10
        memory = 10
      }}
    }}
  }}
}}
"#
    )
}
