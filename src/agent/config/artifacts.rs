//! How artifacts are downloaded on this node.

use std::time::Duration;

use anyhow::{Context as _, bail};
use artifact::{AddressRules, Limits, Options};

use super::file::ArtifactBlock;
use super::settings::duration;

/// What the block and the defaults come to.
pub(super) fn options(block: &ArtifactBlock) -> anyhow::Result<Options> {
    let defaults = Limits::default();
    let time = |name: &'static str, text: &Option<String>, default: Duration| {
        duration(name, text.as_deref()).map(|found| found.unwrap_or(default))
    };
    let bytes = |name: &str, text: &Option<String>, default: u64| {
        text.as_deref().map_or(Ok(default), |text| size(name, text))
    };
    let limits = Limits {
        http_read_timeout: time(
            "http_read_timeout",
            &block.http_read_timeout,
            defaults.http_read_timeout,
        )?,
        http_max_bytes: bytes("http_max_size", &block.http_max_size, defaults.http_max_bytes)?,
        git_timeout: time("git_timeout", &block.git_timeout, defaults.git_timeout)?,
        s3_timeout: time("s3_timeout", &block.s3_timeout, defaults.s3_timeout)?,
        decompression_size_limit: bytes(
            "decompression_size_limit",
            &block.decompression_size_limit,
            defaults.decompression_size_limit,
        )?,
        decompression_file_count_limit: block
            .decompression_file_count_limit
            .unwrap_or(defaults.decompression_file_count_limit),
        unpack_timeout: defaults.unpack_timeout,
    };
    let names = block.set_environment_variables.as_deref().unwrap_or_default().split(',');
    let rules = AddressRules::new(&block.allow, &block.deny)
        .map_err(anyhow::Error::msg)
        .context("`allow` and `deny` of `artifact`")?;
    Ok(Options {
        limits,
        rules,
        isolate: !block.disable_filesystem_isolation.unwrap_or(false),
        environment: names
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        ..Options::default()
    })
}

/// `100GB`, `1.5GiB` or a number of bytes.
fn size(name: &str, text: &str) -> anyhow::Result<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => bail!("{name} is `{text}`; write a size such as 100GB or 512MiB"),
    };
    if let Ok(whole) = number.parse::<u64>()
        && let Some(bytes) = whole.checked_mul(factor)
    {
        return Ok(bytes);
    }
    match number.parse::<f64>() {
        // Far below where whole numbers cannot be told apart any more.
        Ok(part) if part.is_finite() && part * factor as f64 <= 1e18 => {
            Ok((part * factor as f64) as u64)
        }
        _ => bail!("{name} is `{text}`; write a size such as 100GB or 512MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("100GB", 100_000_000_000), ("1.5 GiB", 3 << 29), ("42", 42), ("512MiB", 512 << 20)]
        {
            assert_eq!(size("x", text).expect("a size"), bytes, "{text}");
        }
        for text in ["", "GB", "-1GB", "1XB", "99999999999TB", "1.2.3MB"] {
            assert!(size("x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_block_goes_over_the_defaults() {
        let options = options(&ArtifactBlock {
            http_read_timeout: Some("5s".into()),
            http_max_size: Some("1MB".into()),
            set_environment_variables: Some("AWS_REGION, AWS_ACCESS_KEY_ID".into()),
            disable_filesystem_isolation: Some(true),
            allow: vec!["127.0.0.0/8".into()],
            ..ArtifactBlock::default()
        })
        .expect("options");
        assert_eq!(options.limits.http_read_timeout, Duration::from_secs(5));
        assert_eq!((options.limits.http_max_bytes, options.isolate), (1_000_000, false));
        assert_eq!(options.limits.decompression_file_count_limit, 4096);
        assert_eq!(options.environment, ["AWS_REGION", "AWS_ACCESS_KEY_ID"]);
        assert!(
            super::options(&ArtifactBlock { deny: vec!["x".into()], ..ArtifactBlock::default() })
                .is_err()
        );
    }
}
