//! Job files to start from. Tests hold them free of findings.

/// Which example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// The least that runs a web server and updates it safely.
    Short,
    /// Everything that is used often, with words.
    Full,
    /// The short one in YAML.
    Yaml,
}

/// The text of an example.
pub fn example(kind: Example) -> &'static str {
    match kind {
        Example::Short => include_str!("examples/short.nomad.hcl"),
        Example::Full => include_str!("examples/full.nomad.hcl"),
        Example::Yaml => include_str!("examples/short.yaml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inputs, Source, parse};

    fn read(kind: Example, path: &str) -> model::Job {
        let parsed = parse(Source { path, bytes: example(kind).as_bytes() }, &Inputs::default());
        assert_eq!(parsed.diagnostics, [], "{path}");
        parsed.jobs.into_iter().next().expect("has a job")
    }

    #[test]
    fn all_are_clean_and_the_short_ones_are_the_same() {
        read(Example::Full, "example.nomad.hcl");
        let hcl = read(Example::Short, "example.nomad.hcl");
        let yaml = read(Example::Yaml, "example.yaml");
        assert_eq!(hcl, yaml);
        assert_eq!(hcl.spec_hash(), yaml.spec_hash());
    }
}
