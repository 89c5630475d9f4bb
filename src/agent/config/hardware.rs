//! Cores and devices of the node: which are kept, and which tasks can be given.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use node::DeviceSettings;
use serde_json::Value;

use super::file::{ClientBlock, DeviceBlock};

pub(super) fn reserved_cores(client: &ClientBlock) -> anyhow::Result<BTreeSet<u16>> {
    model::parse_cpuset(&client.reserved.cores)
        .map_err(|problem| anyhow!("client: reserved: cores: {problem}"))
}

pub(super) fn devices(client: &ClientBlock) -> anyhow::Result<Vec<DeviceSettings>> {
    client.device.iter().map(|(make, block)| device(make, block)).collect()
}

fn device(make: &str, block: &DeviceBlock) -> anyhow::Result<DeviceSettings> {
    let mut parts = make.splitn(3, '/');
    let mut part = || parts.next().filter(|part| !part.trim().is_empty()).map(str::to_owned);
    let (Some(vendor), Some(kind), Some(name)) = (part(), part(), part()) else {
        bail!("device \"{make}\": name it by vendor, type and model, such as \"acme/serial/usb\"");
    };
    let path = &block.path;
    let is_way_up = path.split('/').any(|part| part == "..");
    if is_way_up || path.strip_prefix("/dev/").is_none_or(str::is_empty) {
        bail!("device \"{make}\": path is `{path}`; it must be a file beneath /dev");
    }
    let mut attributes = std::collections::BTreeMap::new();
    for (key, value) in &block.attributes {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
            _ => bail!(
                "device \"{make}\": attribute `{key}` is neither text, number nor true or false"
            ),
        };
        attributes.insert(key.clone(), text);
    }
    Ok(DeviceSettings { vendor, kind, name, paths: vec![path.clone()], attributes })
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    fn client(text: &str) -> ClientBlock {
        File::parse(&format!("client {{\n{text}\n}}\n"), false).expect("a configuration").client
    }

    #[test]
    fn devices_are_named_and_described() {
        let text = r#"
            device "acme/serial/usb" {
              path = "/dev/ttyUSB*"
              attributes {
                speed = 115200
                rack  = "r1"
                fast  = true
              }
            }
            reserved { cores = "0-1,4" }
        "#;
        let client_block = client(text);
        let found = devices(&client_block).expect("fine");
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (one.vendor.as_str(), one.kind.as_str(), one.name.as_str()),
            ("acme", "serial", "usb")
        );
        assert_eq!(one.paths, ["/dev/ttyUSB*"]);
        assert_eq!(one.attributes["speed"], "115200");
        assert_eq!(
            (one.attributes["rack"].as_str(), one.attributes["fast"].as_str()),
            ("r1", "true")
        );
        assert!(reserved_cores(&client_block).expect("fine").into_iter().eq([0, 1, 4]));
        for wrong in [
            "device \"acme/serial\" { path = \"/dev/a\" }",
            "device \"acme//usb\" { path = \"/dev/a\" }",
            "device \"a/b/c\" { path = \"/etc/passwd\" }",
            "device \"a/b/c\" { path = \"/dev/../etc/passwd\" }",
            "device \"a/b/c\" {}",
        ] {
            assert!(devices(&client(wrong)).is_err(), "{wrong}");
        }
        assert!(reserved_cores(&client("reserved { cores = \"a\" }")).is_err());
    }
}
