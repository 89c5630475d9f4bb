//! `include = ["../lib/common.hcl"]`: what files of a repository have in common is written once. An extension: Nomad
//! has nothing of the kind.
//!
//! An included file holds `variable`, `variables` and `locals` blocks, which then stand in the file that includes it,
//! and may include others. It is HCL, lies in the same repository, and is read at the same commit.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::expr::{Globals, Scope, Value};
use crate::files::Files;
use crate::report::{Fault, Sink, Span};
use crate::tree::{Attribute, Body, Expr};
use crate::{hcl, source};

/// How many files may be included, in all.
const MAX_FILES: usize = 64;
/// How many files may include one another in a row.
const MAX_DEPTH: usize = 8;
/// How many bytes they may have together: they hold no jobs.
const MAX_BYTES: usize = 1 << 18;

/// Remembers what was looked at, on the way to the files of the repository.
pub(crate) struct Reads<'a> {
    files: &'a dyn Files,
    seen: RefCell<BTreeSet<String>>,
}

impl<'a> Reads<'a> {
    pub(crate) fn new(files: &'a dyn Files) -> Self {
        Self { files, seen: RefCell::default() }
    }

    /// The paths that were asked for; a folder ends in `/`.
    pub(crate) fn seen(self) -> BTreeSet<String> {
        self.seen.into_inner()
    }
}

impl Files for Reads<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.seen.borrow_mut().insert(path.to_owned());
        self.files.read(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        self.seen.borrow_mut().insert(format!("{}/", folder.trim_end_matches('/')));
        self.files.list(folder)
    }
}

/// Puts what the file includes behind its own blocks. Returns its text with those of the included files behind it, which
/// the spans of their blocks are places in.
pub(crate) fn include<'a>(
    root: &mut Body<Expr>,
    (path, text): (&str, &'a str),
    files: &dyn Files,
    sink: &Sink<'_>,
) -> Cow<'a, str> {
    let Some(at) = root.attributes.iter().position(|attribute| attribute.name == "include") else {
        return Cow::Borrowed(text);
    };
    let attribute = root.attributes.remove(at);
    let message = "`include` is an extension: Nomad cannot read this file";
    sink.extension(attribute.name_span, message);
    let mut includer =
        Includer { files, sink, text: text.to_owned(), bytes: 0, seen: BTreeSet::new() };
    includer.attribute(&attribute, &mut vec![path.to_owned()], root);
    Cow::Owned(includer.text)
}

struct Includer<'a> {
    files: &'a dyn Files,
    sink: &'a Sink<'a>,
    text: String,
    bytes: usize,
    seen: BTreeSet<String>,
}

impl Includer<'_> {
    fn attribute(
        &mut self,
        attribute: &Attribute<Expr>,
        chain: &mut Vec<String>,
        root: &mut Body<Expr>,
    ) {
        for (written, span) in self.paths(attribute) {
            if let Err(fault) = self.file(&written, span, chain, root) {
                self.sink.error(fault);
            }
        }
    }

    /// The paths as written, with their places.
    fn paths(&self, attribute: &Attribute<Expr>) -> Vec<(String, Span)> {
        let mut paths = Vec::new();
        let mut wrong = |value: &Value, span| match value {
            Value::String(path) if !path.is_empty() && !path.contains("${") => {
                paths.push((path.clone(), span));
            }
            Value::Failed => {}
            _ => {
                let message = "`include` is a list of paths, each written out";
                let help = "write: include = [\"../lib/common.hcl\"]";
                self.sink.error(Fault::new("wrong-type", span, message).help(help));
            }
        };
        let globals = Globals::new(&self.text, self.sink);
        let scope = Scope::root(&globals);
        if let Expr::Hcl(hcl_edit::expr::Expression::Array(items)) = &attribute.value {
            use hcl_edit::Span as _;
            for item in items.iter() {
                let span = item.span().map_or(attribute.value_span, Span::from);
                wrong(&scope.value(&Expr::Hcl(item.clone()), span), span);
            }
            return paths;
        }
        match scope.value(&attribute.value, attribute.value_span) {
            Value::List(items) => {
                items.iter().for_each(|item| wrong(item, attribute.value_span));
            }
            other => wrong(&other, attribute.value_span),
        }
        paths
    }

    fn file(
        &mut self,
        written: &str,
        span: Span,
        chain: &mut Vec<String>,
        root: &mut Body<Expr>,
    ) -> Result<(), Fault> {
        let wrong = |code, message: String| Fault::new(code, span, message);
        let from = chain.last().map_or("", String::as_str);
        let path = resolved(from, written)
            .map_err(|why| wrong("unknown-include", format!("`{written}` {why}")))?;
        if let Some(at) = chain.iter().position(|above| *above == path) {
            let circle: Vec<&str> =
                chain.iter().skip(at).map(String::as_str).chain([path.as_str()]).collect();
            let message = format!("files include one another in a circle: {}", circle.join(" → "));
            return Err(wrong("circular-include", message));
        }
        if !self.seen.insert(path.clone()) {
            // Two files may share a third.
            return Ok(());
        }
        if self.seen.len() > MAX_FILES || chain.len() > MAX_DEPTH {
            let message = format!(
                "a file may include up to {MAX_FILES} files, {MAX_DEPTH} in a row; this is more"
            );
            return Err(wrong("too-large", message));
        }
        let bytes = match self.files.read(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                let help = "a path is read from the folder of the file that it stands in; one that starts with / \
                            from the root of the repository";
                let message = format!("there is no file {path} in this repository");
                return Err(wrong("unknown-include", message).help(help));
            }
            Err(why) => {
                return Err(wrong("unknown-include", format!("{path} cannot be read: {why}")));
            }
        };
        self.bytes += bytes.len();
        if self.bytes > MAX_BYTES {
            let message = format!("the files included have more than {} KiB", MAX_BYTES >> 10);
            return Err(wrong("too-large", message));
        }
        if path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".json") {
            let message = format!("{path} cannot be included: only HCL can");
            return Err(wrong("unknown-include", message));
        }
        let text = source::text_of(&bytes).map_err(|fault| {
            let message = format!("{path} cannot be included: {}", fault.message);
            wrong(fault.code, message).help(fault.help)
        })?;
        let body = self.parse(&path, text)?;
        chain.push(path);
        self.take(body, chain, root);
        chain.pop();
        Ok(())
    }

    /// Its spans are places in the whole text, because it is parsed behind as much blank as there is text before it.
    fn parse(&mut self, path: &str, text: &str) -> Result<Body<Expr>, Fault> {
        self.text.push('\n');
        let base = self.text.len();
        self.text.push_str(text);
        self.sink.include(base, path, text);
        if let Some(fault) = source::conflict_markers(text).into_iter().next() {
            let span = Span::new(fault.span.start + base, fault.span.end + base);
            return Err(Fault { span, ..fault });
        }
        let mut padded = " ".repeat(base - 1);
        padded.push('\n');
        padded.push_str(text);
        hcl::parse(&padded, self.sink).ok_or_else(Fault::reported)
    }

    fn take(&mut self, mut body: Body<Expr>, chain: &mut Vec<String>, root: &mut Body<Expr>) {
        root.incomplete |= body.incomplete;
        for attribute in std::mem::take(&mut body.attributes) {
            if attribute.name == "include" {
                self.attribute(&attribute, chain, root);
                continue;
            }
            let message = format!(
                "an included file holds variables and locals, not an attribute `{}`",
                attribute.name
            );
            let help = "put it into a block: locals { … }";
            let fault = Fault::new("unknown-attribute", attribute.name_span, message);
            self.sink.error(fault.help(help));
        }
        for block in body.blocks {
            if ["variable", "variables", "locals"].contains(&block.kind.as_str()) {
                root.blocks.push(block);
                continue;
            }
            let message =
                format!("an included file holds variables and locals, not `{}`", block.kind);
            let help = "what is here is for several files; a job stands in a file of its own";
            let fault = Fault::new("unknown-block", block.header_span(), message);
            self.sink.error(fault.help(help));
        }
    }
}

/// The path from the repository's root, or why there can be no such file.
fn resolved(from: &str, written: &str) -> Result<String, &'static str> {
    let (folder, written) = match written.strip_prefix('/') {
        Some(rest) => ("", rest),
        None => (from.rsplit_once('/').map_or("", |(folder, _)| folder), written),
    };
    if written.contains(['\\', '\0']) || written.ends_with('/') {
        return Err("is not the path of a file");
    }
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in written.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or("leaves the repository")?;
            }
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return Err("is not the path of a file");
    }
    Ok(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_the_file_or_the_root_and_stay_inside() {
        let path = |from, written| resolved(from, written);
        assert_eq!(path("jobs/web/a.hcl", "../lib/x.hcl").as_deref(), Ok("jobs/lib/x.hcl"));
        assert_eq!(path("jobs/web/a.hcl", "./x.hcl").as_deref(), Ok("jobs/web/x.hcl"));
        assert_eq!(path("jobs/web/a.hcl", "/lib//x.hcl").as_deref(), Ok("lib/x.hcl"));
        assert_eq!(path("a.hcl", "x.hcl").as_deref(), Ok("x.hcl"));
        assert_eq!(path("a.hcl", "../x.hcl"), Err("leaves the repository"));
        assert_eq!(path("a/b.hcl", "/../x.hcl"), Err("leaves the repository"));
        assert!(path("a.hcl", "lib/").is_err());
        assert!(path("a.hcl", "..\\x").is_err());
        assert!(path("a.hcl", ".").is_err());
    }
}
