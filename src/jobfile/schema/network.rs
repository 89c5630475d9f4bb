//! `network {}`, of groups and, as it once was, of a task's resources.

use super::{Schema, count, flag, labelled, one, text, text_map, texts, whole};

const MAX_PORT: i64 = 65_535;

pub(super) static NETWORK: Schema = Schema {
    attributes: &[
        text("mode", "Mode"),
        text("device", "Device").gone(),
        text("cidr", "CIDR").gone(),
        text("ip", "IP").gone(),
        text("hostname", "Hostname"),
        count("mbits", "MBits").or_null().gone(),
    ],
    blocks: &[
        one("dns", "DNS", || &DNS),
        // A pass moves those with a fixed number to `ReservedPorts`.
        labelled("port", "DynamicPorts", "Label", || &PORT),
        labelled("reserved_ports", "ReservedPorts", "Label", || &PORT).gone(),
        one("cni", "CNI", || &CNI),
    ],
    open: false,
};

static PORT: Schema = Schema {
    attributes: &[
        whole("static", "Value", 0, MAX_PORT),
        whole("to", "To", -1, MAX_PORT),
        text("host_network", "HostNetwork"),
        flag("ignore_collision", "IgnoreCollision"),
    ],
    blocks: &[],
    open: false,
};

static DNS: Schema = Schema {
    attributes: &[
        texts("servers", "Servers"),
        texts("searches", "Searches"),
        texts("options", "Options"),
    ],
    blocks: &[],
    open: false,
};

static CNI: Schema = Schema { attributes: &[text_map("args", "Args")], blocks: &[], open: false };
