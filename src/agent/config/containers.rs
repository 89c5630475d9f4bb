//! What the configuration comes to for the drivers that run containers.

use std::path::Path;

use anyhow::bail;
use driver::{DockerOptions, Engine};

use super::file::{PluginBlock, PluginConfig};
use super::settings::duration;

/// The driver's options, or `None` where it is turned off. The instance is set when the node is known.
pub(crate) fn options(
    engine: Engine,
    block: Option<&PluginBlock>,
    data_dir: &Path,
    total_compute: Option<u64>,
) -> anyhow::Result<Option<DockerOptions>> {
    let default = PluginConfig::default();
    let plugin = block.map_or(&default, |block| &block.config);
    if plugin.enabled == Some(false) {
        return Ok(None);
    }
    let name = engine.name();
    let mut options = DockerOptions::of(engine, "");
    options.host.clone_from(&plugin.endpoint);
    options.allow_privileged = plugin.allow_privileged.unwrap_or(false);
    options.allow_host_namespaces = plugin.allow_host_namespaces.unwrap_or(false);
    options.volumes_enabled = plugin.volumes.enabled.unwrap_or(false);
    options.allow_caps.clone_from(&plugin.allow_caps);
    for device in &plugin.allow_devices {
        if !device.starts_with('/') {
            bail!("plugin \"{name}\": `allow_devices` holds `{device}`, which is no absolute path");
        }
    }
    options.allow_devices.clone_from(&plugin.allow_devices);
    if let Some(runtimes) = &plugin.allow_runtimes {
        options.allow_runtimes.clone_from(runtimes);
    }
    options.no_new_privileges = plugin.no_new_privileges.unwrap_or(false);
    options.pids_limit = plugin.pids_limit.unwrap_or(options.pids_limit);
    options.extra_labels.clone_from(&plugin.extra_labels);
    options.auth_config.clone_from(&plugin.auth.config);
    options.auth_helper.clone_from(&plugin.auth.helper);
    if let Some(limit) = duration("pull_activity_timeout", plugin.pull_activity_timeout.as_deref())?
    {
        if limit.is_zero() {
            bail!("plugin \"{name}\": `pull_activity_timeout` must be more than 0");
        }
        options.pull_activity_timeout = limit;
    }
    let cleanup = &mut options.cleanup;
    cleanup.image = plugin.gc.image.unwrap_or(true);
    cleanup.container = plugin.gc.container.unwrap_or(true);
    if let Some(delay) = duration("image_delay", plugin.gc.image_delay.as_deref())? {
        cleanup.image_delay = delay;
    }
    cleanup.record = Some(data_dir.join("client").join(format!("{name}-images.json")));
    options.total_compute = total_compute.unwrap_or_else(node::total_compute);
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::file::File;

    fn read(config: &str) -> anyhow::Result<Option<DockerOptions>> {
        let text = format!("plugin \"docker\" {{\n config {{\n{config}\n}}\n}}\n");
        let file = File::parse(&text, false)?;
        options(Engine::Docker, file.plugin.get("docker"), Path::new("/data"), Some(1))
    }

    #[test]
    fn a_node_without_a_word_allows_nothing() {
        let options = read("").expect("reads").expect("is on");
        assert!(!options.allow_privileged && !options.volumes_enabled);
        assert!(!options.allow_host_namespaces && options.allow_devices.is_empty());
        assert_eq!(options.allow_runtimes, ["runc"]);
        assert_eq!(options.cleanup.image_delay, Duration::from_secs(180));
        let record = options.cleanup.record.expect("is kept");
        assert_eq!(record, Path::new("/data/client/docker-images.json"));
    }

    #[test]
    fn every_word_arrives() {
        let options = read(
            "allow_privileged = true\nallow_devices = [\"/dev/dri/\"]\npids_limit = 100\n\
             auth {\n helper = \"ecr-login\"\n}\npull_activity_timeout = \"30s\"\n\
             gc {\n image_delay = \"1h\"\n container = false\n}\nallow_runtimes = [\"kata\"]",
        );
        let options = options.expect("reads").expect("is on");
        assert!(options.allow_privileged && !options.cleanup.container && options.cleanup.image);
        assert_eq!(options.allow_devices, ["/dev/dri/"]);
        assert_eq!(options.allow_runtimes, ["kata"]);
        assert_eq!(options.auth_helper.as_deref(), Some("ecr-login"));
        assert_eq!(options.pull_activity_timeout, Duration::from_secs(30));
        assert_eq!(options.cleanup.image_delay, Duration::from_secs(3600));
        assert!(read("enabled = false").expect("reads").is_none());
        for wrong in ["gc {\n image_delay = \"soon\"\n}", "allow_devices = [\"sda\"]", "nope = 1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
