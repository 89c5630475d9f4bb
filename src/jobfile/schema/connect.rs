//! `connect {}`: Consul's mesh. It is read whole and kept, and nothing is done about it yet.

use super::task::{LOGS, RESOURCES, VOLUME_MOUNT};
use super::{
    Attribute, Kind, Schema, Unset, any, attribute, choice, count, duration, flag, keyed, many,
    map, material, one, text, texts, whole,
};

const MAX_PORT: i64 = 65_535;

const fn port(name: &'static str, json: &'static str) -> Attribute {
    whole(name, json, 0, MAX_PORT)
}

pub(super) static CONNECT: Schema = Schema {
    attributes: &[flag("native", "Native")],
    blocks: &[
        one("gateway", "Gateway", || &GATEWAY),
        one("sidecar_service", "SidecarService", || &SIDECAR_SERVICE),
        one("sidecar_task", "SidecarTask", || &SIDECAR_TASK),
    ],
    open: false,
};

static SIDECAR_SERVICE: Schema = Schema {
    attributes: &[
        texts("tags", "Tags"),
        text("port", "Port"),
        flag("disable_default_tcp_check", "DisableDefaultTCPCheck"),
    ],
    blocks: &[one("proxy", "Proxy", || &PROXY), map("meta", "Meta")],
    open: false,
};

static PROXY: Schema = Schema {
    attributes: &[
        text("local_service_address", "LocalServiceAddress"),
        port("local_service_port", "LocalServicePort"),
    ],
    blocks: &[
        one("expose", "Expose", || &EXPOSE),
        many("upstreams", "Upstreams", || &UPSTREAM),
        one("transparent_proxy", "TransparentProxy", || &TRANSPARENT_PROXY),
        any("config", "Config"),
    ],
    open: false,
};

static EXPOSE: Schema =
    Schema { attributes: &[], blocks: &[many("path", "Paths", || &EXPOSE_PATH)], open: false };

static EXPOSE_PATH: Schema = Schema {
    attributes: &[
        text("path", "Path"),
        text("protocol", "Protocol"),
        port("local_path_port", "LocalPathPort"),
        text("listener_port", "ListenerPort"),
    ],
    blocks: &[],
    open: false,
};

static UPSTREAM: Schema = Schema {
    attributes: &[
        text("destination_name", "DestinationName"),
        text("destination_namespace", "DestinationNamespace"),
        text("destination_peer", "DestinationPeer"),
        text("destination_partition", "DestinationPartition"),
        text("destination_type", "DestinationType"),
        port("local_bind_port", "LocalBindPort"),
        text("datacenter", "Datacenter"),
        text("local_bind_address", "LocalBindAddress"),
        text("local_bind_socket_path", "LocalBindSocketPath"),
        text("local_bind_socket_mode", "LocalBindSocketMode"),
    ],
    blocks: &[one("mesh_gateway", "MeshGateway", || &MESH_GATEWAY), any("config", "Config")],
    open: false,
};

static MESH_GATEWAY: Schema = Schema {
    attributes: &[choice("mode", "Mode", &["", "local", "remote", "none"])],
    blocks: &[],
    open: false,
};

static TRANSPARENT_PROXY: Schema = Schema {
    attributes: &[
        text("uid", "UID"),
        port("outbound_port", "OutboundPort"),
        texts("exclude_inbound_ports", "ExcludeInboundPorts"),
        attribute("exclude_outbound_ports", "ExcludeOutboundPorts", Kind::Ports, Unset::Null),
        texts("exclude_outbound_cidrs", "ExcludeOutboundCIDRs"),
        texts("exclude_uids", "ExcludeUIDs"),
        flag("no_dns", "NoDNS"),
    ],
    blocks: &[],
    open: false,
};

static SIDECAR_TASK: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("driver", "Driver"),
        text("user", "User"),
        duration("kill_timeout", "KillTimeout").or_seconds(5),
        duration("shutdown_delay", "ShutdownDelay"),
        text("kill_signal", "KillSignal"),
    ],
    blocks: &[
        any("config", "Config"),
        map("env", "Env"),
        one("resources", "Resources", || &RESOURCES).filled(),
        map("meta", "Meta"),
        one("logs", "LogConfig", || &LOGS).filled(),
        many("volume_mount", "VolumeMounts", || &VOLUME_MOUNT),
        many("identity", "Identities", || &material::IDENTITY),
    ],
    open: false,
};

static GATEWAY: Schema = Schema {
    attributes: &[],
    blocks: &[
        one("proxy", "Proxy", || &GATEWAY_PROXY),
        one("ingress", "Ingress", || &INGRESS),
        one("terminating", "Terminating", || &TERMINATING),
        one("mesh", "Mesh", || &MESH),
    ],
    open: false,
};

static MESH: Schema = Schema { attributes: &[], blocks: &[], open: false };

static GATEWAY_PROXY: Schema = Schema {
    attributes: &[
        duration("connect_timeout", "ConnectTimeout").or_seconds(5),
        flag("envoy_gateway_bind_tagged_addresses", "EnvoyGatewayBindTaggedAddresses"),
        flag("envoy_gateway_no_default_bind", "EnvoyGatewayNoDefaultBind"),
        choice(
            "envoy_dns_discovery_type",
            "EnvoyDNSDiscoveryType",
            &["", "STRICT_DNS", "LOGICAL_DNS"],
        ),
    ],
    blocks: &[
        keyed("envoy_gateway_bind_addresses", "EnvoyGatewayBindAddresses", "Name", || {
            &BIND_ADDRESS
        }),
        any("config", "Config"),
    ],
    open: false,
};

static BIND_ADDRESS: Schema = Schema {
    attributes: &[text("address", "Address"), port("port", "Port")],
    blocks: &[],
    open: false,
};

static INGRESS: Schema = Schema {
    attributes: &[],
    blocks: &[one("tls", "TLS", || &TLS), many("listener", "Listeners", || &LISTENER)],
    open: false,
};

static TLS: Schema = Schema {
    attributes: &[
        flag("enabled", "Enabled"),
        text("tls_min_version", "TLSMinVersion"),
        text("tls_max_version", "TLSMaxVersion"),
        texts("cipher_suites", "CipherSuites"),
    ],
    blocks: &[one("sds", "SDS", || &SDS)],
    open: false,
};

static SDS: Schema = Schema {
    attributes: &[text("cluster_name", "ClusterName"), text("cert_resource", "CertResource")],
    blocks: &[],
    open: false,
};

static LISTENER: Schema = Schema {
    attributes: &[port("port", "Port"), text("protocol", "Protocol").or("tcp")],
    blocks: &[many("service", "Services", || &INGRESS_SERVICE)],
    open: false,
};

static INGRESS_SERVICE: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        texts("hosts", "Hosts"),
        count("max_connections", "MaxConnections").or_null(),
        count("max_pending_requests", "MaxPendingRequests").or_null(),
        count("max_concurrent_requests", "MaxConcurrentRequests").or_null(),
    ],
    blocks: &[
        one("tls", "TLS", || &TLS),
        one("request_headers", "RequestHeaders", || &HEADERS),
        one("response_headers", "ResponseHeaders", || &HEADERS),
    ],
    open: false,
};

static HEADERS: Schema = Schema {
    attributes: &[texts("remove", "Remove")],
    blocks: &[map("add", "Add"), map("set", "Set")],
    open: false,
};

static TERMINATING: Schema = Schema {
    attributes: &[],
    blocks: &[many("service", "Services", || &LINKED_SERVICE)],
    open: false,
};

static LINKED_SERVICE: Schema = Schema {
    attributes: &[
        text("name", "Name"),
        text("ca_file", "CAFile"),
        text("cert_file", "CertFile"),
        text("key_file", "KeyFile"),
        text("sni", "SNI"),
    ],
    blocks: &[],
    open: false,
};
