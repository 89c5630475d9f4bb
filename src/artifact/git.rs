//! Repositories: one commit is fetched, and its tree is written like an archive.
//!
//! The protocol (version 0, which every server speaks) is spoken here, so that each connection obeys the rules for
//! addresses. libgit2 takes the pack apart and reads objects; it never sees an address, a configuration or a work tree,
//! and nothing that a repository holds (hooks, filters, submodules, LFS) is acted on.

mod protocol;
mod ssh;

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use git2::{Indexer, Odb, Oid, Repository};
use url::Url;

use crate::FetchError;
use crate::failure::shown;
use crate::source::Source;
use crate::tree::{MAX_DEPTH, Tree, refused};
use crate::web::{Headers, Web};
use protocol::{Advertisement, Packet};

/// Where objects are kept, from the staging folder.
const OBJECTS: &str = "objects";
/// The largest file of a repository, in bytes: libgit2 holds it in memory.
const MAX_BLOB: usize = 512 << 20;
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";
const REQUEST: &str = "application/x-git-upload-pack-request";

/// Fetches what the source names and writes its tree.
pub(crate) fn fetch(
    source: &Source,
    web: &Web,
    headers: &Headers,
    max_bytes: u64,
    tree: &mut Tree,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    std::fs::create_dir_all(Path::new(OBJECTS).join("pack"))
        .map_err(|error| FetchError::system("making a folder for the repository", error))?;
    let oid = match source.scheme.as_str() {
        "ssh" => {
            let mut connection = ssh::connect(source, web)?;
            let advertised = connection.advertisement()?;
            let (oid, request) = protocol::request(&advertised, source.option("ref"))?;
            let answer = connection.ask(&request)?;
            let taken = take_pack(answer, max_bytes, web, progress);
            taken.map_err(|error| connection.explain(error))?;
            oid
        }
        _ => over_http(source, web, headers, max_bytes, progress)?,
    };
    write_tree(oid, source.subdir.as_deref(), web, tree)
}

fn over_http(
    source: &Source,
    web: &Web,
    headers: &Headers,
    max_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Oid, FetchError> {
    let user = source.userinfo.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let path = source.path.trim_end_matches('/');
    let address = format!(
        "{}://{user}{}{path}/info/refs?service=git-upload-pack",
        source.scheme, source.authority
    );
    let url = Url::parse(&address)
        .map_err(|_| FetchError::refused("the repository's address cannot be read"))?;
    let answer = web.get(url, headers, true)?;
    let is = |answer: &ureq::http::Response<ureq::Body>, kind: &str| {
        answer
            .headers()
            .get("content-type")
            .is_some_and(|value| value.as_bytes() == kind.as_bytes())
    };
    if !is(&answer.response, ADVERTISEMENT) {
        return Err(FetchError::refused(format!(
            "there is no Git repository at {}, or its server speaks only the old protocol of files",
            source.shown()
        )));
    }
    // Where it turned out to be. What follows goes there, and is not redirected again.
    let mut base = answer.url.clone();
    let path = base.path().strip_suffix("/info/refs").map(|path| format!("{path}/git-upload-pack"));
    let path = path
        .ok_or_else(|| FetchError::refused("the repository redirects to something that is none"))?;
    base.set_path(&path);
    base.set_query(None);
    let mut reader = BufReader::new(
        answer.response.into_body().into_with_config().limit(protocol::MAX_ADVERTISEMENT).reader(),
    );
    let advertised = Advertisement::read(&mut reader, true)?;
    let (oid, request) = protocol::request(&advertised, source.option("ref"))?;
    let mut headers = answer.headers;
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    headers.push(("content-type".to_owned(), REQUEST.to_owned()));
    let response = web.call(&base, &headers, Some(&request))?;
    if response.status().as_u16() != 200 || !is(&response, RESULT) {
        return Err(FetchError::failed(format!(
            "{} answers {} when it is asked for the commit",
            source.shown(),
            response.status()
        )));
    }
    let reader = response.into_body().into_with_config().limit(u64::MAX).reader();
    take_pack(reader, max_bytes, web, progress)?;
    Ok(oid)
}

/// Reads a pack into the folder of objects.
fn take_pack(
    answer: impl Read,
    max_bytes: u64,
    web: &Web,
    progress: &mut dyn FnMut(u64),
) -> Result<(), FetchError> {
    let mut answer = BufReader::with_capacity(64 << 10, answer);
    let mut indexer = Indexer::new(None, &Path::new(OBJECTS).join("pack"), 0o600, false)
        .map_err(|error| failed("the repository cannot be kept", &error))?;
    let mut total: u64 = 0;
    loop {
        web.left()?;
        let packet = match Packet::read(&mut answer) {
            Ok(packet) => packet,
            // The last flush may be missing where the connection just ends.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && total > 0 => break,
            Err(error) => {
                return Err(FetchError::failed(format!(
                    "the repository's answer broke off: {error}"
                )));
            }
        };
        let Packet::Data(data) = packet else {
            if total > 0 {
                break;
            }
            continue;
        };
        match data.split_first() {
            Some((1, pack)) => {
                total += pack.len() as u64;
                if total > max_bytes {
                    return Err(FetchError::refused(format!(
                        "the repository is larger than {max_bytes} bytes (http_max_size)"
                    )));
                }
                indexer.write_all(pack).map_err(|error| {
                    FetchError::refused(format!("the repository sends no usable pack: {error}"))
                })?;
                progress(total);
            }
            Some((3, words)) => {
                return Err(FetchError::failed(format!("the repository says: {}", shown(words))));
            }
            // Progress in words, and which commits are where the history was cut.
            _ if data.starts_with(b"ERR ") => {
                return Err(FetchError::failed(format!("the repository says: {}", shown(&data))));
            }
            _ => {}
        }
    }
    if total == 0 {
        return Err(FetchError::failed("the repository sent nothing"));
    }
    indexer.commit().map_err(|error| failed("the repository's pack is damaged", &error))?;
    Ok(())
}

/// Writes the tree of a commit, or the folder or file in it that was asked for.
fn write_tree(
    oid: Oid,
    subdir: Option<&str>,
    web: &Web,
    tree: &mut Tree,
) -> Result<(), FetchError> {
    let open = || {
        let odb = Odb::new()?;
        odb.add_disk_alternate(OBJECTS)?;
        Repository::from_odb(odb)
    };
    let repository = open().map_err(|error| failed("the repository cannot be read", &error))?;
    let object = repository.find_object(oid, None).and_then(|object| object.peel_to_tree());
    let root =
        object.map_err(|error| failed("the repository did not send the commit whole", &error))?;
    let writer = Writer { repository: &repository, web };
    let Some(subdir) = subdir else { return writer.folder(&root, &mut Vec::new(), tree, 0) };
    let entry = root.get_path(Path::new(subdir)).map_err(|_| {
        FetchError::refused(format!("the commit has no `{}`", shown(subdir.as_bytes())))
    })?;
    match repository.find_tree(entry.id()) {
        Ok(folder) => writer.folder(&folder, &mut Vec::new(), tree, 0),
        Err(_) => writer.entry(&entry, &mut Vec::new(), tree, 0),
    }
}

struct Writer<'a> {
    repository: &'a Repository,
    web: &'a Web,
}

impl Writer<'_> {
    fn folder(
        &self,
        folder: &git2::Tree<'_>,
        path: &mut Vec<u8>,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<(), FetchError> {
        if depth > MAX_DEPTH {
            return Err(refused(path, &format!("lies more than {MAX_DEPTH} folders deep")));
        }
        folder.iter().try_for_each(|entry| self.entry(&entry, path, tree, depth))
    }

    fn entry(
        &self,
        entry: &git2::TreeEntry<'_>,
        path: &mut Vec<u8>,
        tree: &mut Tree,
        depth: usize,
    ) -> Result<(), FetchError> {
        self.web.left()?;
        let above = path.len();
        let name = entry.name_bytes();
        if name.contains(&b'/') || name.eq_ignore_ascii_case(b".git") {
            return Err(refused(name, "is no name for a file of a repository"));
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        let unreadable =
            |error: git2::Error| failed("the repository did not send everything", &error);
        let mode = entry.filemode();
        match mode & 0o170_000 {
            0o040_000 => {
                tree.folder(path, 0o755)?;
                let inner = self.repository.find_tree(entry.id()).map_err(unreadable)?;
                self.folder(&inner, path, tree, depth + 1)?;
            }
            // A submodule is another repository; an empty folder stands for it, as after a plain clone.
            0o160_000 => tree.folder(path, 0o755)?,
            kind @ (0o100_000 | 0o120_000) => {
                let (size, _) = self
                    .repository
                    .odb()
                    .and_then(|odb| odb.read_header(entry.id()))
                    .map_err(unreadable)?;
                if size > MAX_BLOB {
                    return Err(refused(path, &format!("is larger than {MAX_BLOB} bytes")));
                }
                let blob = self.repository.find_blob(entry.id()).map_err(unreadable)?;
                if kind == 0o120_000 {
                    tree.link(path, blob.content())?;
                } else {
                    let mode = if mode & 0o111 != 0 { 0o755 } else { 0o644 };
                    tree.file(path, mode, &mut blob.content())?;
                }
            }
            _ => return Err(refused(path, "is neither a file nor a folder nor a link")),
        }
        path.truncate(above);
        Ok(())
    }
}

fn failed(words: &str, error: &git2::Error) -> FetchError {
    FetchError::failed(format!("{words}: {}", error.message()))
}
