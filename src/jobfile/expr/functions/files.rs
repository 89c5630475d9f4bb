//! Functions that read files of the repository, at the job's commit, and those over paths.
//!
//! Paths are relative to the folder of the job file and stay within the repository. What is read, and what is found
//! missing, is remembered by whoever lends the files: a job is read anew when one of them changes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::glob::Glob;
use super::{Args, Function};
use crate::expr::cty::{Type, Value, set};

/// The functions that read.
pub(super) const READERS: [&str; 4] = ["file", "filebase64", "fileexists", "fileset"];

/// How large a file may be.
const MAX_BYTES: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    Function("file", 1, 1, |a| {
        let bytes = read(a)?;
        String::from_utf8(bytes).map(Value::text).map_err(|_| {
            format!("{} is not text; filebase64 reads any file", a.text(0).unwrap_or_default())
        })
    }),
    Function("filebase64", 1, 1, |a| Ok(Value::text(STANDARD.encode(read(a)?)))),
    Function("fileexists", 1, 1, |a| {
        let path = path(a, &a.text(0)?)?;
        let globals = a.site.globals;
        if globals.files.read(&path)?.is_some() {
            return Ok(Value::Bool(true));
        }
        if path.is_empty() || !globals.files.list(&path)?.is_empty() {
            return Err(format!("{} is a folder", shown(&path)));
        }
        Ok(Value::Bool(false))
    }),
    Function("fileset", 2, 2, file_set),
    Function("basename", 1, 1, |a| Ok(Value::text(base(&a.text(0)?)))),
    Function("dirname", 1, 1, |a| Ok(Value::text(folder(&a.text(0)?)))),
    Function("abspath", 1, 1, |a| {
        let path = a.text(0)?;
        if !path.starts_with('/') {
            return Err(
                "files of a repository have no absolute paths: they lie elsewhere on each \
                        node, or nowhere"
                    .to_owned(),
            );
        }
        Ok(Value::text(clean(&path)))
    }),
    Function("pathexpand", 1, 1, |a| {
        let path = a.text(0)?;
        if path.starts_with('~') {
            return Err("a repository has no home folder".to_owned());
        }
        Ok(Value::text(path))
    }),
];

fn read(a: &Args<'_>) -> Result<Vec<u8>, String> {
    let path = path(a, &a.text(0)?)?;
    let found = a.site.globals.files.read(&path);
    let bytes = found
        .map_err(|why| format!("{} cannot be read: {why}", shown(&path)))?
        .ok_or_else(|| format!("there is no file {} in this repository", shown(&path)))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} has more than {} MiB", shown(&path), MAX_BYTES >> 20));
    }
    a.site.globals.budget.charge(a.site.span, bytes.len()).map_err(|fault| fault.message)?;
    Ok(bytes)
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "the root of the repository" } else { path }
}

/// A path from the repository's root.
fn path(a: &Args<'_>, written: &str) -> Result<String, String> {
    joined(&a.site.globals.folder, written)
}

fn joined(folder: &str, written: &str) -> Result<String, String> {
    if written.starts_with('/') || written.starts_with('~') {
        return Err(format!(
            "`{written}` lies outside of the repository; paths are relative to the job file's folder"
        ));
    }
    let mut all: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in written.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                all.pop().ok_or_else(|| format!("`{written}` leads out of the repository"))?;
            }
            name => all.push(name),
        }
    }
    Ok(all.join("/"))
}

/// The files beneath a folder whose paths are like a pattern, as paths from that folder.
fn file_set(a: &Args<'_>) -> Result<Value, String> {
    let (folder, pattern) = (a.text(0)?, a.text(1)?);
    let folder = path(a, &folder)?;
    let pattern = joined(&folder, pattern.trim_start_matches('/'))?;
    let glob = Glob::new(&pattern)?;
    let from = glob.folder();
    let globals = a.site.globals;
    let all = globals.files.list(&from);
    let all = all.map_err(|why| format!("{} cannot be listed: {why}", shown(&from)))?;
    let bytes = all.iter().map(|path| path.len() + 32).sum::<usize>().saturating_mul(4);
    globals.budget.work(a.site.span, bytes).map_err(|fault| fault.message)?;
    let found = all.iter().filter(|path| glob.matches(path));
    let found = found.map(|path| Value::text(relative(&folder, path))).collect();
    Ok(set(Type::String, found))
}

/// The way from a folder to a file, both from the root.
fn relative(folder: &str, path: &str) -> String {
    let mut from: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    let mut to: Vec<&str> = path.split('/').collect();
    while !from.is_empty() && from.first() == to.first() {
        from.remove(0);
        to.remove(0);
    }
    let up = from.iter().map(|_| "..");
    up.chain(to).collect::<Vec<_>>().join("/")
}

/// The last name of a path.
fn base(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return "/".to_owned();
    }
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// All but the last name of a path.
fn folder(path: &str) -> String {
    let (before, _) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
    clean(before)
}

/// The shortest path that means the same.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut all: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if all.last().is_some_and(|last| *last != "..") => {
                all.pop();
            }
            ".." if is_absolute => {}
            name => all.push(name),
        }
    }
    match (is_absolute, all.is_empty()) {
        (true, _) => format!("/{}", all.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => all.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out() {
        assert_eq!(joined("a/b", "../x/./y"), Ok("a/x/y".to_owned()));
        assert_eq!(joined("", "a//b/"), Ok("a/b".to_owned()));
        assert_eq!(joined("a", "../../x"), Err("`../../x` leads out of the repository".to_owned()));
        assert!(joined("a", "/etc/passwd").is_err());
        assert!(joined("a", "~/x").is_err());
        assert_eq!(relative("a/b", "a/c/d"), "../c/d");
    }
}
