//! RFC 5424, and the octet counting of RFC 6587.

use std::path::PathBuf;

use driver::LogStream;

use super::batch::Record;

/// The number that RFC 5612 keeps for documentation stands for an enterprise of our own.
const ELEMENT: &str = "herder@32473";

/// Where a syslog daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// `udp://HOST:PORT`. Lost datagrams are lost; nobody says so.
    Udp(String),
    /// `tcp://HOST:PORT`.
    Tcp(String),
    /// `unix:///PATH`, of datagrams or else a stream.
    Unix(PathBuf),
}

impl std::str::FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |rest: &str| {
            let port = rest.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.and_then(|(_, port)| port.parse::<u16>().ok()).is_some_and(|port| port > 0)
        };
        match text.split_once("://") {
            Some(("udp", rest)) if port(rest) => Ok(Self::Udp(rest.to_owned())),
            Some(("tcp", rest)) if port(rest) => Ok(Self::Tcp(rest.to_owned())),
            Some(("unix", rest)) if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            _ => Err(format!(
                "`{text}` is not the address of a syslog daemon; write udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log"
            )),
        }
    }
}

/// The number of a facility, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl std::str::FromStr for Facility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const NAMES: [&str; 24] = [
            "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
            "authpriv", "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2",
            "local3", "local4", "local5", "local6", "local7",
        ];
        let at = NAMES.iter().position(|name| *name == text);
        at.and_then(|at| u8::try_from(at).ok()).map(Self).ok_or_else(|| {
            format!("`{text}` is not a syslog facility; it is one of {}", NAMES.join(", "))
        })
    }
}

/// A syslog receiver.
#[derive(Clone, Debug)]
pub struct SyslogOptions {
    /// Where it is.
    pub address: SyslogAddress,
    /// What it files our messages under.
    pub facility: Facility,
}

/// One message. Whatever the names hold, the header has no spaces or controls and the element no open quotes.
pub(super) fn message(facility: Facility, node: &str, record: &Record) -> Vec<u8> {
    let severity = match (record.ours, record.stream) {
        (true, _) => 4,
        (false, LogStream::Stdout) => 6,
        (false, LogStream::Stderr) => 3,
    };
    let source = &record.source;
    let time = rfc3339(record.read_at.0);
    let mut out = format!("<{}>1 {time} ", u32::from(facility.0) * 8 + severity);
    header(&mut out, node, 255);
    header(&mut out, &source.task, 48);
    header(&mut out, &source.alloc.short(), 128);
    header(&mut out, record.stream.as_str(), 32);
    out.push('[');
    out.push_str(ELEMENT);
    for (name, value) in [
        ("job", source.job.as_str()),
        ("group", &source.group),
        ("task", &source.task),
        ("alloc", &source.alloc.to_string()),
        ("stream", record.stream.as_str()),
        ("node", node),
        ("commit", &source.commit),
    ] {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '"' | '\\' | ']' => out.extend(['\\', c]),
                c if c.is_control() => out.push('?'),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out.push_str("] ");
    let mut out = out.into_bytes();
    out.extend_from_slice(&record.body);
    out
}

/// A field of the header: printable ASCII, or `-`.
fn header(out: &mut String, value: &str, longest: usize) {
    if value.is_empty() {
        out.push('-');
    }
    out.extend(value.chars().take(longest).map(|c| if c.is_ascii_graphic() { c } else { '_' }));
    out.push(' ');
}

/// A message as it goes over a stream: its length in front.
pub(super) fn framed(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(format!("{} ", message.len()).as_bytes());
    out.extend_from_slice(message);
}

/// A time in UTC with microseconds, from nanoseconds since the epoch. Days to dates as Howard Hinnant does it.
fn rfc3339(nanos: i64) -> String {
    let (secs, micros) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000) / 1000);
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::source;
    use super::*;

    fn record(body: &[u8], stream: LogStream) -> Record {
        let mut source = source("web", "/x".as_ref());
        source.job = "a\"b]c\\d".to_owned();
        Record {
            source: Arc::new(source),
            stream,
            body: body.to_owned(),
            read_at: model::Timestamp(1_795_204_801_123_456_789),
            ours: false,
            end: driver::LogPosition::default(),
        }
    }

    #[test]
    fn a_message_is_as_rfc_5424_wants_it() {
        let local0 = "local0".parse().expect("a facility");
        let record = record(b"{\"a\": 1} \xff", LogStream::Stderr);
        let message = message(local0, "node one", &record);
        let alloc = record.source.alloc;
        let head = format!(
            "<131>1 2026-11-20T20:00:01.123456Z node_one web {} stderr [herder@32473 job=\"a\\\"b\\]c\\\\d\" \
             group=\"app\" task=\"web\" alloc=\"{alloc}\" stream=\"stderr\" node=\"node one\" \
             commit=\"c0ffee\"] {{\"a\": 1}} ",
            alloc.short()
        );
        assert_eq!(String::from_utf8_lossy(&message), format!("{head}\u{fffd}"));
        assert_eq!(message.last(), Some(&0xff), "bytes are kept");
        let mut out = Vec::new();
        framed(&mut out, b"abc");
        assert_eq!(out, b"3 abc");
    }

    #[test]
    fn dates_are_right() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(secs * 1_000_000_000), text);
        }
    }

    #[test]
    fn addresses_and_facilities_are_checked() {
        assert_eq!("udp://[::1]:514".parse(), Ok(SyslogAddress::Udp("[::1]:514".into())));
        assert_eq!("unix:///dev/log".parse(), Ok(SyslogAddress::Unix("/dev/log".into())));
        for wrong in ["", "localhost:514", "udp://:514", "tcp://h", "tcp://h:0", "unix://x"] {
            assert!(wrong.parse::<SyslogAddress>().is_err(), "{wrong}");
        }
        assert_eq!("local7".parse(), Ok(Facility(23)));
        assert!("local8".parse::<Facility>().is_err());
    }
}
