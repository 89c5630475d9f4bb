variable "image" {
  type    = string
  default = "registry.example/team/web:1.4.2"
}

locals {
  team   = "payments"
  labels = { team = local.team, job = "NAME" }
}

job "NAME" {
  datacenters = ["dc1", "dc2"]
  type        = "service"

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  update {
    max_parallel     = 2
    min_healthy_time = "10s"
    healthy_deadline = "3m"
    auto_revert      = true
  }

  group "web" {
    count = 3

    network {
      port "http" { to = 8080 }
      port "metrics" {}
    }

    service {
      name = "NAME"
      port = "http"
      tags = ["traefik.enable=true", "team-${local.team}"]
      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    restart {
      attempts = 3
      interval = "10m"
      delay    = "20s"
      mode     = "delay"
    }

    task "server" {
      driver = "docker"

      config {
        image  = var.image
        ports  = ["http", "metrics"]
        args   = ["--listen", "0.0.0.0:8080", "--metrics", "${NOMAD_PORT_metrics}"]
        labels = local.labels
      }

      env {
        LOG_LEVEL = "info"
        UPSTREAM  = "http://db.service.consul:5432"
      }

      template {
        data        = <<-EOT
        listen {{ env "NOMAD_PORT_http" }}
        workers = 4
        EOT
        destination = "local/app.conf"
        change_mode = "restart"
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}
