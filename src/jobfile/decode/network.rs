//! `network {}` and its ports.

use model::{Network, Port};

use super::reader::Reader;

const MAX_PORT: i64 = 65_535;

/// The networks of a group.
pub(super) fn all(parent: &Reader<'_>) -> Vec<Network> {
    parent.blocks("network").iter().map(|(reader, _)| one(reader)).collect()
}

fn one(reader: &Reader<'_>) -> Network {
    let mut network = Network {
        mode: mode(reader),
        hostname: reader.text("hostname").unwrap_or_default(),
        ..Network::default()
    };
    for (inner, block) in reader.blocks("port") {
        let port = Port {
            label: block.label().to_owned(),
            value: inner.whole("static", 0..=MAX_PORT).unwrap_or(0),
            // -1 says in words what 0 says by default: the same as the host's port.
            to: inner
                .whole::<i64>("to", -1..=MAX_PORT)
                .and_then(|to| i32::try_from(to).ok())
                .unwrap_or(0),
            host_network: inner.text("host_network").unwrap_or_default(),
            ignore_collision: false,
        };
        // Where to look for the port, when the rules are checked.
        let path = format!("{}/port/{}", reader.path, port.label);
        reader.context.places.borrow_mut().record(path, inner.header);
        if port.value > 0 {
            network.reserved_ports.push(port);
        } else {
            network.dynamic_ports.push(port);
        }
    }
    network
}

/// Only the host's own network is there yet.
fn mode(reader: &Reader<'_>) -> String {
    let mode = reader.text("mode").unwrap_or_default();
    if !matches!(mode.as_str(), "" | "host") {
        reader.context.sink.warning(
            crate::report::Fault::new(
                "not-acted-on",
                reader.place("mode"),
                format!("network mode `{mode}` is not acted on yet"),
            )
            .help("the tasks use the host's network; containers have Docker's own, with their ports mapped"),
        );
    }
    mode
}
