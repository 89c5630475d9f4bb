//! Runtime `${…}` references, which job files keep literally until a node is known (nomad.md 1.3).

/// Replaces each `${reference}` that `lookup` knows; what it does not know stays as it is. `$${` stays as it is too.
pub fn interpolate(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let from = &rest[start..];
        let escaped = out.ends_with('$');
        match from.find('}') {
            Some(end) if !escaped => {
                let value = lookup(reference_in(&from[2..end]));
                out.push_str(value.as_deref().unwrap_or(&from[..=end]));
                rest = &from[end + 1..];
            }
            _ => {
                out.push_str("${");
                rest = &from[2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The references in `text`, in order.
pub fn references(text: &str) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    interpolate(text, |reference| {
        found.borrow_mut().push(reference.to_owned());
        None
    });
    found.into_inner()
}

/// `env["weird..name"]` is another way to write `weird..name`.
fn reference_in(inner: &str) -> &str {
    let inner = inner.trim();
    inner.strip_prefix("env[\"").and_then(|rest| rest.strip_suffix("\"]")).unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(reference: &str) -> Option<String> {
        (reference == "NOMAD_PORT_http" || reference == "a.b").then(|| "8080".to_owned())
    }

    #[test]
    fn replaces_what_is_known_and_keeps_the_rest() {
        assert_eq!(interpolate("x:${NOMAD_PORT_http}/${vra.x}", known), "x:8080/${vra.x}");
        assert_eq!(interpolate("${env[\"a.b\"]}", known), "8080");
        assert_eq!(interpolate("$${a.b} ${open", known), "$${a.b} ${open");
    }

    #[test]
    fn lists_references() {
        assert_eq!(references("${a} and ${b.c}"), ["a", "b.c"]);
    }
}
