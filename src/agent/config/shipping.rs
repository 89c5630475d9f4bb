//! Where logs are sent, checked.

use anyhow::{Context as _, anyhow, bail};
use node::{LogReceiver, OtlpOptions, SyslogOptions};

use super::file::{LogShippingBlock, OtlpBlock, SyslogBlock};

pub(super) fn receivers(block: &LogShippingBlock) -> anyhow::Result<Vec<LogReceiver>> {
    let syslog = block.syslog.as_ref().map(|block| syslog(block).context("log_shipping: syslog"));
    let otlp = block.otlp.as_ref().map(|block| otlp(block).context("log_shipping: otlp"));
    syslog.into_iter().chain(otlp).collect()
}

fn syslog(block: &SyslogBlock) -> anyhow::Result<LogReceiver> {
    let format = block.format.as_deref().unwrap_or("rfc5424");
    if format != "rfc5424" {
        bail!("format is `{format}`; messages are sent as \"rfc5424\"");
    }
    let facility = block.facility.as_deref().unwrap_or("local0");
    Ok(LogReceiver::Syslog(SyslogOptions {
        address: block.address.parse().map_err(|problem: String| anyhow!(problem))?,
        facility: facility.parse().map_err(|problem: String| anyhow!(problem))?,
    }))
}

fn otlp(block: &OtlpBlock) -> anyhow::Result<LogReceiver> {
    let endpoint = block.endpoint.trim_end_matches('/');
    let host = ["http://", "https://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme));
    if host.and_then(|host| host.split('/').next()).is_some_and(|host| host.contains('@')) {
        bail!("endpoint holds a password; put it into `headers_file`, as a header");
    }
    if host.is_none_or(str::is_empty) {
        bail!("endpoint is `{endpoint}`; write http://HOST:4318, to which /v1/logs is added");
    }
    Ok(LogReceiver::Otlp(OtlpOptions {
        endpoint: endpoint.to_owned(),
        headers_file: block.headers_file.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<LogReceiver>> {
        receivers(&File::parse(text, false).expect("HCL").log_shipping)
    }

    #[test]
    fn receivers_are_checked() {
        let both = read(
            "log_shipping {\n syslog {\n address = \"udp://127.0.0.1:514\"\n facility = \"local3\"\n format = \"rfc5424\"\n }\n \
             otlp {\n endpoint = \"http://127.0.0.1:4318/\"\n headers_file = \"/etc/h\"\n }\n}\n",
        )
        .expect("good");
        assert!(
            matches!(&both[..], [LogReceiver::Syslog(_), LogReceiver::Otlp(otlp)]
                if otlp.endpoint == "http://127.0.0.1:4318"),
            "{both:?}"
        );
        assert!(read("").expect("none").is_empty());
        for (wrong, word) in [
            ("syslog { address = \"localhost\" }", "udp://HOST:PORT"),
            ("syslog {\n address = \"udp://h:1\"\n facility = \"x\"\n }", "facility"),
            ("syslog {\n address = \"udp://h:1\"\n format = \"rfc3164\"\n }", "rfc5424"),
            ("otlp { endpoint = \"127.0.0.1:4318\" }", "http://HOST:4318"),
            ("otlp { endpoint = \"http://me:pw@h\" }", "headers_file"),
        ] {
            let error = read(&format!("log_shipping {{\n {wrong}\n}}\n")).expect_err(wrong);
            let words = format!("{error:#}");
            assert!(words.contains(word) && !words.contains("pw@"), "{words}");
        }
    }
}
