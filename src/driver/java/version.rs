//! What `java -version` says.

/// A Java as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) runtime: String,
    pub(super) machine: String,
}

impl Version {
    /// Reads the file `release` of a Java's directory: `JAVA_VERSION="17.0.15"` and the like, a line each.
    pub(super) fn of_release(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        Some(Self {
            version: value("JAVA_VERSION").filter(|version| !version.is_empty())?,
            runtime: value("JAVA_RUNTIME_VERSION")
                .or_else(|| value("IMPLEMENTOR"))
                .unwrap_or_default(),
            machine: value("JVM_VARIANT").unwrap_or_default(),
        })
    }

    /// Reads the three lines that every Java prints: version, runtime, machine.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines =
            text.lines().map(str::trim).skip_while(|line| !line.contains(" version \""));
        let version = lines.next()?.split('"').nth(1)?.to_owned();
        let mut next = || lines.next().unwrap_or_default().to_owned();
        Some(Self { version, runtime: next(), machine: next() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_lies_beside_them() {
        let text = "IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.15\"\nJVM_VARIANT=\"Hotspot\"\n";
        let version = Version::of_release(text).expect("a version");
        assert_eq!((version.version.as_str(), version.runtime.as_str()), ("17.0.15", "Debian"));
        assert_eq!(version.machine, "Hotspot");
        assert_eq!(Version::of_release("JAVA_VERSION_DATE=\"2025-04-15\"\n"), None);
    }

    #[test]
    fn reads_what_javas_say() {
        let said = "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\n\
                    openjdk version \"17.0.15\" 2025-04-15\n\
                    OpenJDK Runtime Environment (build 17.0.15+6)\n\
                    OpenJDK 64-Bit Server VM (build 17.0.15+6, mixed mode)\n";
        let version = Version::parse(said).expect("a version");
        assert_eq!(version.version, "17.0.15");
        assert_eq!(version.runtime, "OpenJDK Runtime Environment (build 17.0.15+6)");
        assert!(version.machine.starts_with("OpenJDK 64-Bit"));
        assert_eq!(Version::parse("command not found"), None);
    }
}
