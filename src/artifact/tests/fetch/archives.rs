//! Archives through the whole way: server, child, destination.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use artifact::{Limits, Mode, Options, fetch};
use tar::{Builder, EntryType, Header};

use crate::server::{Answer, Server};
use crate::{download, get, local, options, place, read};

/// A tar archive; names go in as they are.
fn archive(entries: &[(EntryType, &str, &str, u32)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, content, mode) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.as_old_mut().name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let data = if kind.is_file() { content.as_bytes() } else { b"" };
        if !kind.is_file() {
            header
                .as_old_mut()
                .linkname
                .iter_mut()
                .zip(content.bytes())
                .for_each(|(to, from)| *to = from);
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data).expect("appends");
    }
    builder.into_inner().expect("an archive")
}

pub(crate) async fn are_unpacked() {
    let bytes = archive(&[
        (EntryType::Directory, "app/", "", 0o755),
        (EntryType::Regular, "app/bin/tool", "#!/bin/sh\n", 0o6755),
        (EntryType::Symlink, "app/tool", "bin/tool", 0o777),
        (EntryType::Regular, "README", "words", 0o644),
    ]);
    let server = Server::start(move |_| Answer::ok(bytes.clone()));
    let root = place();
    get(&server.url("/app.tar"), root.path()).await.expect("unpacked");
    assert_eq!(read(root.path(), "app/tool"), "#!/bin/sh\n");
    let mode = local(root.path(), "app/bin/tool").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "special bits are dropped");
    let mut wanted = download(&server.url("/app.tar//app/bin"), root.path());
    wanted.destination = "local/only".into();
    wanted.mode = Mode::Dir;
    fetch(&options(), &wanted, &|_| ()).await.expect("a part of it");
    assert!(
        local(root.path(), "only/tool").exists() && !local(root.path(), "only/README").exists()
    );
    wanted.source = server.url("/app.tar//README");
    wanted.mode = Mode::File;
    wanted.destination = "local/readme.txt".into();
    fetch(&options(), &wanted, &|_| ()).await.expect("one file of it");
    assert_eq!(read(root.path(), "readme.txt"), "words");
    wanted.source = server.url("/app.tar");
    let error = fetch(&options(), &wanted, &|_| ()).await.expect_err("many");
    assert!(error.message.contains("one file"), "{error}");
    get(&format!("{}?archive=false", server.url("/app.tar")), root.path()).await.expect("as it is");
    assert!(local(root.path(), "app.tar").is_file());
}

pub(crate) async fn do_not_escape() {
    let canary = tempfile::tempdir().expect("a folder");
    let outside = canary.path().join("canary");
    fs::write(&outside, "untouched").expect("writes");
    let absolute = outside.display().to_string();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (archive(&[(EntryType::Regular, "../../x", "x", 0o644)]), "`../../x`"),
        (archive(&[(EntryType::Regular, &absolute, "x", 0o644)]), "absolute name"),
        (
            archive(&[
                (EntryType::Symlink, "l", "/etc", 0o777),
                (EntryType::Regular, "l/x", "x", 0o644),
            ]),
            "`l`",
        ),
        (archive(&[(EntryType::Link, "h", &absolute, 0o644)]), "hard link"),
        (archive(&[(EntryType::Char, "tty", "", 0o666)]), "device"),
        (archive(&[(EntryType::Fifo, "pipe", "", 0o666)]), "named pipe"),
        (
            archive(&(0..200).map(|_| (EntryType::Regular, "x", "x", 0o644)).collect::<Vec<_>>()),
            "at most 100 files",
        ),
        (
            archive(&[(EntryType::Regular, "big", &"x".repeat(20_000), 0o644)]),
            "larger than 10000 bytes",
        ),
    ];
    let options = Options {
        limits: Limits {
            decompression_file_count_limit: 100,
            decompression_size_limit: 10_000,
            ..Limits::default()
        },
        ..options()
    };
    for (bytes, words) in cases {
        let server = Server::start(move |_| Answer::ok(bytes.clone()));
        let root = place();
        let error = fetch(&options, &download(&server.url("/a.tar"), root.path()), &|_| ()).await;
        let error = error.expect_err(words);
        assert!(error.message.contains(words) && !error.recoverable, "{error}");
        assert_eq!(
            fs::read_dir(local(root.path(), "")).expect("lists").count(),
            0,
            "all or nothing"
        );
        assert_eq!(fs::read_dir(root.path().join(".artifacts")).expect("lists").count(), 0);
        assert_eq!(fs::read_to_string(&outside).expect("there"), "untouched");
    }
}

pub(crate) async fn a_planted_link_is_not_followed() {
    let bytes = archive(&[(EntryType::Regular, "conf/x", "evil", 0o644)]);
    let server = Server::start(move |_| Answer::ok(bytes.clone()));
    let root = place();
    let outside = tempfile::tempdir().expect("a folder");
    symlink(outside.path(), local(root.path(), "conf")).expect("a link");
    let error = get(&server.url("/a.tar"), root.path()).await.expect_err("refused");
    assert!(error.message.contains("local/conf") && !error.recoverable, "{error}");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 0);
}
