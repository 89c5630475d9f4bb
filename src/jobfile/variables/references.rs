//! What an expression refers to, where it may refer to little or nothing.

use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ForExpr, FuncCall, Traversal, TraversalOperator};
use hcl_edit::template::ForDirective;
use hcl_edit::visit::{self, Visit};

use crate::report::Span;
use crate::tree::Expr;
use crate::yaml::{Kind, Node};

/// A name that an expression does not bring in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// `var` of `var.x`.
    pub(super) root: String,
    /// `x` of `var.x`.
    pub(super) name: Option<String>,
    /// The place in the text that the expression was parsed from.
    pub(super) span: Option<Span>,
}

/// All references, in their order.
pub(super) fn references(expression: &Expression) -> Vec<Reference> {
    let mut finder = Finder::default();
    finder.visit_expr(expression);
    finder.found
}

/// The variables and locals that a value refers to, each once, as `var.x` and `local.x`.
pub(super) fn named_by(value: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let mut add = |root: &str, name: &str| {
        let name = format!("{root}.{name}");
        if matches!(root, "var" | "local") && !names.contains(&name) {
            names.push(name);
        }
    };
    match value {
        Expr::Hcl(expression) => {
            for found in references(expression) {
                add(&found.root, found.name.as_deref().unwrap_or("*"));
            }
        }
        Expr::Yaml(node) => in_node(node, &mut add),
    }
    names
}

/// Looks for names in templates. One that stands in a text within them is taken for one, too.
fn in_node(node: &Node, add: &mut impl FnMut(&str, &str)) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| in_node(item, add)),
        Kind::Map(items) => items.iter().for_each(|(_, item)| in_node(item, add)),
        Kind::Text(text) if text.contains("${") || text.contains("%{") => {
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
            for root in ["var", "local"] {
                for (at, _) in text.match_indices(&format!("{root}.")) {
                    let before = text.get(..at).unwrap_or_default();
                    let after = text.get(at + root.len() + 1..).unwrap_or_default();
                    let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                    let name = after.get(..end).unwrap_or_default();
                    if !name.is_empty() && !before.ends_with(|c| is_name(c) || c == '.') {
                        add(root, name);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Whether it calls a function.
pub(super) fn calls(expression: &Expression) -> bool {
    let mut finder = Finder::default();
    finder.visit_expr(expression);
    finder.calls
}

#[derive(Default)]
struct Finder {
    found: Vec<Reference>,
    calls: bool,
}

impl Finder {
    /// Forgets names that what was visited since `from` had brought in.
    fn forget(&mut self, from: usize, names: &[&str]) {
        let inner = self.found.split_off(from);
        let free = inner.into_iter().filter(|found| !names.contains(&found.root.as_str()));
        self.found.extend(free);
    }
}

impl Visit for Finder {
    fn visit_expr(&mut self, node: &Expression) {
        if let Expression::Variable(name) = node {
            self.found.push(Reference {
                root: name.as_str().to_owned(),
                name: None,
                span: node.span().map(Span::from),
            });
            return;
        }
        visit::visit_expr(self, node);
    }

    fn visit_traversal(&mut self, node: &Traversal) {
        let Expression::Variable(root) = &node.expr else {
            visit::visit_traversal(self, node);
            return;
        };
        let name = node.operators.first().and_then(|operator| match operator.value() {
            TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
            TraversalOperator::Index(Expression::String(name)) => Some(name.value().clone()),
            _ => None,
        });
        let span = node.expr.span().map(Span::from);
        self.found.push(Reference { root: root.as_str().to_owned(), name, span });
        for operator in &node.operators {
            self.visit_traversal_operator(operator);
        }
    }

    fn visit_func_call(&mut self, node: &FuncCall) {
        self.calls = true;
        visit::visit_func_call(self, node);
    }

    fn visit_for_expr(&mut self, node: &ForExpr) {
        // The collection stands outside of what the loop brings in.
        self.visit_expr(&node.intro.collection_expr);
        let from = self.found.len();
        let parts = node.key_expr.iter().chain([&node.value_expr]);
        parts.chain(node.cond.iter().map(|cond| &cond.expr)).for_each(|part| self.visit_expr(part));
        let key = node.intro.key_var.as_ref().map_or("", |name| name.as_str());
        self.forget(from, &[key, node.intro.value_var.as_str()]);
    }

    fn visit_for_directive(&mut self, node: &ForDirective) {
        // The visitor of the crate passes the collection over.
        self.visit_expr(&node.for_expr.collection_expr);
        let from = self.found.len();
        self.visit_template(&node.for_expr.template);
        let key = node.for_expr.key_var.as_ref().map_or("", |name| name.as_str());
        self.forget(from, &[key, node.for_expr.value_var.as_str()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(text: &str) -> Vec<String> {
        let parsed = hcl_edit::parser::parse_expr(text).expect("parses");
        references(&parsed)
            .into_iter()
            .map(|found| match found.name {
                Some(name) => format!("{}.{name}", found.root),
                None => found.root,
            })
            .collect()
    }

    #[test]
    fn finds_what_is_free_only() {
        assert_eq!(roots("[1, \"a\", {b = true}]"), [""; 0]);
        assert_eq!(roots("us-east"), ["us-east"]);
        assert_eq!(roots("var.x[local.y] + f(z)"), ["var.x", "local.y", "z"]);
        assert_eq!(roots("[for k, v in [1]: k + v + w]"), ["w"]);
        assert_eq!(roots("{for v in v : v => z if y}"), ["v", "z", "y"]);
        assert_eq!(roots("\"${a.b}-%{ for x in y }${x}%{ endfor }\""), ["a.b", "y"]);
        assert_eq!(roots("var[\"x\"]"), ["var.x"]);
    }
}
