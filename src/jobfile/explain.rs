//! What a code means, for people who have nothing but the binary.

/// The page of all codes, a section for each.
const PAGE: &str = include_str!("../../docs/messages.md");

/// What the documentation says about a code of a finding, as Markdown with the code as its heading.
pub fn explain(code: &str) -> Option<&'static str> {
    let is_code = |c: char| c.is_ascii_lowercase() || c == '-';
    if code.is_empty() || !code.chars().all(is_code) {
        return None;
    }
    let heading = format!("\n## {code}\n");
    let start = PAGE.find(&heading)? + 1;
    let section = PAGE.get(start..)?;
    let end = section.find("\n## ").unwrap_or(section.len());
    section.get(..end).map(str::trim_end)
}

/// The codes that [`explain`] knows, in alphabetical order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|line| line.strip_prefix("## "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        assert!(codes().count() > 50);
        for code in codes() {
            let said = explain(code).expect("has a section");
            assert!(
                said.starts_with(&format!("## {code}\n")) && said.lines().count() > 2,
                "{code}"
            );
            assert!(!said.contains("\n## "), "{code}");
        }
        assert!(codes().is_sorted());
        assert_eq!(explain("no-such-code"), None);
        assert_eq!(explain(""), None);
    }
}
