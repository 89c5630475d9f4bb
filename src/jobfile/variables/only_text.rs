//! `"var.image"`: the name of a variable or local that stands in a text without `${…}`, and so is only text.

use std::collections::{BTreeMap, BTreeSet};

use hcl_edit::Span as _;
use hcl_edit::expr::Expression;
use hcl_edit::template::{Element, HeredocTemplate, StringTemplate};
use hcl_edit::visit::{self, Visit};

use crate::report::{Fault, Sink, Span};
use crate::tree::{Body, Expr};
use crate::yaml::{Kind, Node};

/// What is longer is a script or the settings of a program, and has names of its own.
const LONGEST: usize = 1_000;

/// Warns of texts in jobs and locals that have the name of something that is declared.
pub(super) fn warn<L>(
    root: &Body<Expr>,
    variables: &BTreeSet<&str>,
    locals: &BTreeMap<String, L>,
    sink: &Sink<'_>,
) {
    if variables.is_empty() && locals.is_empty() {
        return;
    }
    let is_declared = |root: &str, name: &str| match root {
        "var" => variables.contains(name),
        _ => locals.contains_key(name),
    };
    let mut finder = Finder { is_declared: &is_declared, sink, place: Span::default() };
    for block in root.blocks.iter().filter(|block| matches!(&*block.kind, "job" | "locals")) {
        finder.body(&block.body);
    }
}

struct Finder<'a> {
    is_declared: &'a dyn Fn(&str, &str) -> bool,
    sink: &'a Sink<'a>,
    /// The value that is looked at.
    place: Span,
}

impl Finder<'_> {
    fn body(&mut self, body: &Body<Expr>) {
        for attribute in &body.attributes {
            self.place = attribute.value_span;
            match &attribute.value {
                Expr::Hcl(expression) => self.visit_expr(expression),
                Expr::Yaml(node) => self.node(node),
            }
        }
        body.blocks.iter().for_each(|block| self.body(&block.body));
    }

    fn node(&self, node: &Node) {
        match &node.kind {
            Kind::Text(text) if !text.contains('\n') => self.text(text, node.span, true),
            Kind::List(items) => items.iter().for_each(|item| self.node(item)),
            Kind::Map(items) => items.iter().for_each(|(_, item)| self.node(item)),
            _ => {}
        }
    }

    fn text(&self, text: &str, span: Span, is_yaml: bool) {
        let Some(name) = self.name(text) else { return };
        let message = format!("`{name}` is plain text here, not its value");
        let help = match (text == name, is_yaml) {
            (true, false) => format!("write {name} without quotes"),
            _ => format!("in a text it is written ${{{name}}}"),
        };
        self.sink.warning(Fault::new("unknown-reference", span, message).help(help));
    }

    /// The first name of something that is declared, outside of `${…}`.
    fn name<'t>(&self, text: &'t str) -> Option<&'t str> {
        if text.len() > LONGEST || !text.contains('.') {
            return None;
        }
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        for root in ["var", "local"] {
            for (at, _) in text.match_indices(root) {
                let Some(name) =
                    text.get(at + root.len()..).and_then(|rest| rest.strip_prefix('.'))
                else {
                    continue;
                };
                let name = name.get(..name.find(|c| !is_name(c)).unwrap_or(name.len()))?;
                let before = text.get(..at)?;
                let is_word = before.ends_with(|c| is_name(c) || c == '.' || c == '/');
                let is_inside = before.rfind("${").is_some_and(|opened| {
                    before.get(opened..).is_some_and(|since| !since.contains('}'))
                });
                if !is_word && !is_inside && (self.is_declared)(root, name) {
                    return text.get(at..at + root.len() + 1 + name.len());
                }
            }
        }
        None
    }
}

impl Visit for Finder<'_> {
    fn visit_expr(&mut self, node: &Expression) {
        match node {
            Expression::String(text) if !text.contains('\n') => {
                self.text(text, node.span().map_or(self.place, Span::from), false);
            }
            _ => visit::visit_expr(self, node),
        }
    }

    fn visit_string_template(&mut self, node: &StringTemplate) {
        for element in node {
            if let Element::Literal(text) = element {
                self.text(text, node.span().map_or(self.place, Span::from), false);
            }
        }
    }

    /// What is long is a script or the settings of a program, and has names of its own.
    fn visit_heredoc_template(&mut self, _: &HeredocTemplate) {}
}

#[cfg(test)]
mod tests {
    use crate::{Inputs, Source, parse};

    fn warned(path: &str, text: &str) -> Vec<String> {
        let found = parse(Source { path, bytes: text.as_bytes() }, &Inputs::default()).diagnostics;
        found.into_iter().map(|found| format!("{}; {}", found.message, found.help)).collect()
    }

    fn hcl(value: &str) -> Vec<String> {
        let text = format!(
            "variable \"tag\" {{\n  default = \"1\"\n}}\nlocals {{\n  a = \"x\"\n}}\njob \"j\" {{\n  group \"g\" {{\n    \
             task \"t\" {{\n      driver = \"exec\"\n      config {{\n        command = {value}\n      }}\n    }}\n  }}\n}}\n"
        );
        warned("a.hcl", &text)
    }

    #[test]
    fn names_in_texts_are_told() {
        let words = "`var.tag` is plain text here, not its value; ";
        assert_eq!(hcl("\"var.tag\""), [format!("{words}write var.tag without quotes")]);
        for text in
            ["nginx:var.tag", "nginx:$var.tag", "$(var.tag)", "{{ var.tag }}", "${local.a}:var.tag"]
        {
            assert_eq!(
                hcl(&format!("\"{text}\"")),
                [format!("{words}in a text it is written ${{var.tag}}")],
                "{text}"
            );
        }
        let none = [
            "var.tag",
            "\"${var.tag}\"",
            "\"var.other\"",
            "\"/var.tag\"",
            "\"$${var.tag}\"",
            "\"my.var.tag\"",
        ];
        for value in none {
            assert_eq!(hcl(value), [""; 0], "{value}");
        }
        let yaml = "variable:\n  tag:\n    default: x\njob:\n  j:\n    group:\n      g:\n        task:\n          t:\n            \
                    driver: exec\n            config:\n              command: var.tag\n              args: [\"${var.tag}\"]\n";
        assert_eq!(
            warned("a.yaml", yaml),
            [format!("{words}in a text it is written ${{var.tag}}")]
        );
    }
}
