# A variable is set where Herder is told of this repository; without that its default holds.
variable "image" {
  type        = string
  default     = "nginx:1.29"
  description = "The image that the web server runs"
}

locals {
  domain = "example.org"
}

job "shop" {
  # service: runs for ever · batch: runs to completion · system, sysbatch: the same, once on each node.
  type        = "service"
  datacenters = ["*"]
  priority    = 50

  meta {
    owner = "team-web"
  }

  # Only nodes that meet all constraints are used. They can also stand in a group or task.
  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # How a change is rolled out: one at a time, each healthy for ten seconds, back to the old version if not.
  update {
    max_parallel      = 1
    min_healthy_time  = "10s"
    healthy_deadline  = "2m"
    progress_deadline = "5m"
    auto_revert       = true
  }

  # The tasks of a group run together on one node.
  group "web" {
    count = 3

    constraint {
      distinct_hosts = true
    }

    network {
      # Without `static` the port is chosen; the task finds it in NOMAD_PORT_http.
      port "http" {
        to = 80
      }
    }

    # The name in the catalog: web.service.consul in DNS. Unhealthy instances are left out.
    service {
      name = "web"
      port = "http"
      tags = ["urlprefix-${local.domain}/"]

      check {
        type     = "http"
        path     = "/"
        interval = "5s"
        timeout  = "2s"

        check_restart {
          limit = 3
          grace = "30s"
        }
      }
    }

    # Restarts on the same node; when they are used up, the allocation moves.
    restart {
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    ephemeral_disk {
      size = 500
    }

    # Runs before the main tasks and must succeed.
    task "prepare" {
      driver = "docker"

      lifecycle {
        hook = "prestart"
      }

      config {
        image   = var.image
        command = "sh"
        args    = ["-c", "echo hello > ${NOMAD_ALLOC_DIR}/data/index.html"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }

    task "nginx" {
      driver       = "docker"
      kill_timeout = "20s"

      config {
        image = var.image
        ports = ["http"]
      }

      env {
        DOMAIN = local.domain
      }

      resources {
        cpu        = 200
        memory     = 128
        memory_max = 256
      }

      logs {
        max_files     = 5
        max_file_size = 10
      }
    }
  }
}
