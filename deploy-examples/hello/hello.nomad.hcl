# Six instances of a small web page. Change `release`, commit, and watch two of them at a time being replaced.
#
# To see a rollout go wrong and come back by itself, add "--unhealthy" to `args` and commit.

variable "release" {
  type    = string
  default = "1"
}

job "hello" {
  group "web" {
    count = 6

    network {
      port "http" {}
    }

    # Requests that are under way when an instance leaves the catalog still get their answer.
    shutdown_delay = "1s"

    update {
      max_parallel      = 2
      min_healthy_time  = "2s"
      healthy_deadline  = "20s"
      progress_deadline = "1m"
      auto_revert       = true
    }

    service {
      name = "hello"
      port = "http"
      tags = ["release-${var.release}"]

      check {
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "1s"
      }
    }

    task "server" {
      driver = "raw_exec"

      config {
        command = "herder" # the agent's own binary, so that nothing has to be installed
        args    = ["example-server", "--port", "${NOMAD_PORT_http}", "--release", "${var.release}"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
