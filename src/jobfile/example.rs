//! Job files to start from. Tests hold them free of findings.

/// Which example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// The least that runs a web server and checks it.
    Short,
    /// Everything that is used often, with words.
    Full,
    /// The short one in YAML.
    ShortYaml,
    /// The full one in YAML.
    FullYaml,
}

/// The text of an example.
pub fn example(kind: Example) -> &'static str {
    match kind {
        Example::Short => include_str!("examples/short.nomad.hcl"),
        Example::Full => include_str!("examples/full.nomad.hcl"),
        Example::ShortYaml => include_str!("examples/short.yaml"),
        Example::FullYaml => include_str!("examples/full.yaml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inputs, Source, format, parse};

    fn read(kind: Example, path: &str) -> model::Job {
        let inputs = Inputs { name_extensions: true, ..Inputs::default() };
        let parsed = parse(Source { path, bytes: example(kind).as_bytes() }, &inputs);
        assert_eq!(parsed.diagnostics, [], "{path}");
        parsed.jobs.into_iter().next().expect("has a job")
    }

    #[test]
    fn all_are_clean_and_the_same_in_both_languages() {
        for (hcl, yaml) in
            [(Example::Short, Example::ShortYaml), (Example::Full, Example::FullYaml)]
        {
            let hcl = read(hcl, "example.nomad.hcl");
            let yaml = read(yaml, "example.yaml");
            assert_eq!(hcl, yaml);
            assert_eq!(hcl.spec_hash(), yaml.spec_hash());
        }
    }

    #[test]
    fn all_are_in_the_canonical_style() {
        for kind in [Example::Short, Example::Full] {
            let formatted = format(Source { path: "a.hcl", bytes: example(kind).as_bytes() });
            assert_eq!(formatted.as_deref(), Ok(example(kind)));
        }
    }
}
