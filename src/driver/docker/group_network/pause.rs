//! The program that sits in a group's network: 64-bit ELF of a few hundred bytes, for both architectures that are built.
//!
//! It opens the namespace that its argument names, enters it, gives up all capabilities, and sleeps for ever. When a step
//! fails it ends with the number of the system's error. As the first process of its container it is asked to end by no
//! signal but SIGKILL, and has no children to look after.

/// `open(argv[1]); setns(fd, CLONE_NEWNET); capset(none); loop { pause() }`.
#[rustfmt::skip]
const X86_64: &[u8] = &[
    0x48, 0x8b, 0x7c, 0x24, 0x10,             // mov  rdi, [rsp+16]      argv[1]
    0x31, 0xf6,                               // xor  esi, esi           O_RDONLY
    0xb8, 0x02, 0x00, 0x00, 0x00, 0x0f, 0x05, // open
    0x85, 0xc0, 0x78, 0x34,                   // test eax, eax; js fail
    0x89, 0xc7,                               // mov  edi, eax
    0xbe, 0x00, 0x00, 0x00, 0x40,             // mov  esi, CLONE_NEWNET
    0xb8, 0x34, 0x01, 0x00, 0x00, 0x0f, 0x05, // setns
    0x85, 0xc0, 0x78, 0x22,                   // test eax, eax; js fail
    0x48, 0x8d, 0x3d, 0x26, 0x00, 0x00, 0x00, // lea  rdi, [header]
    0x48, 0x8d, 0x35, 0x27, 0x00, 0x00, 0x00, // lea  rsi, [none]
    0xb8, 0x7e, 0x00, 0x00, 0x00, 0x0f, 0x05, // capset
    0x85, 0xc0, 0x78, 0x09,                   // test eax, eax; js fail
    0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, // again: pause
    0xeb, 0xf7,                               // jmp  again
    0x89, 0xc7, 0xf7, 0xdf,                   // fail: mov edi, eax; neg edi
    0xb8, 0x3c, 0x00, 0x00, 0x00, 0x0f, 0x05, // exit
    0x22, 0x05, 0x08, 0x20, 0, 0, 0, 0,       // header: version 3, this process
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,       // none: effective, permitted, inheritable
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The same; `ppoll` of nothing stands for `pause`, which this architecture has not.
const AARCH64: [u32; 33] = [
    0x9280_0c60, // mov  x0, AT_FDCWD
    0xf940_0be1, // ldr  x1, [sp, 16]      argv[1]
    0xd280_0002, // mov  x2, O_RDONLY
    0xd280_0708, // openat
    0xd400_0001, // svc
    0x37f8_0220, // tbnz w0, 31, fail
    0x52a8_0001, // mov  w1, CLONE_NEWNET
    0xd280_2188, // setns
    0xd400_0001, // svc
    0x37f8_01a0, // tbnz w0, 31, fail
    0x1000_01e0, // adr  x0, header
    0x1000_0201, // adr  x1, none
    0xd280_0b68, // capset
    0xd400_0001, // svc
    0x37f8_0100, // tbnz w0, 31, fail
    0xd280_0000, // again: mov x0, 0
    0xd280_0001, // mov  x1, 0
    0xd280_0002, // mov  x2, 0
    0xd280_0003, // mov  x3, 0
    0xd280_0928, // ppoll
    0xd400_0001, // svc
    0x17ff_fffa, // b    again
    0x4b00_03e0, // fail: neg w0, w0
    0xd280_0ba8, // exit
    0xd400_0001, // svc
    0x2008_0522, // header: version 3
    0,           // this process
    0,           // none: effective, permitted, inheritable
    0,
    0,
    0,
    0,
    0,
];

/// Where the program is put in memory.
const BASE: u64 = 0x40_0000;

/// The length of both headers: the file's, and that of its only segment.
const HEADERS: u64 = 64 + 56;

/// The program for an architecture, as Rust calls it.
pub(super) fn program(arch: &str) -> Option<Vec<u8>> {
    let (machine, code): (u16, Vec<u8>) = match arch {
        "x86_64" => (62, X86_64.to_vec()),
        "aarch64" => (183, AARCH64.iter().flat_map(|word| word.to_le_bytes()).collect()),
        _ => return None,
    };
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::new();
    // 64 bits, little-endian, version 1.
    file.extend(*b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable file.
    for half in [2, machine] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes());
    // The entry, the segments' headers, and no sections.
    for long in [BASE + HEADERS, 64, 0] {
        file.extend(long.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    // Lengths: this header, one segment's header and how many; then what sections would have.
    for half in [64_u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // The segment: loaded, to be read and executed; all of the file.
    for word in [1_u32, 5] {
        file.extend(word.to_le_bytes());
    }
    for long in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend(long.to_le_bytes());
    }
    file.extend(code);
    Some(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, ExitStatus};
    use std::time::{Duration, Instant};

    use super::*;

    fn written(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("pause");
        fs::write(&path, program(std::env::consts::ARCH).expect("a program for us"))
            .expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        path
    }

    fn ended_with(command: &mut Command) -> ExitStatus {
        // Another test's fork may hold the program open for writing for a moment.
        loop {
            match command.status() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
                other => return other.expect("runs"),
            }
        }
    }

    #[test]
    fn both_architectures_have_one() {
        for arch in ["x86_64", "aarch64"] {
            let file = program(arch).expect("a program");
            assert!(file.len() < 512, "{} bytes", file.len());
        }
        assert_eq!(program("sparc"), None);
    }

    #[test]
    fn what_cannot_be_entered_is_told_by_number() {
        let dir = tempfile::tempdir().expect("a directory");
        let status = ended_with(Command::new(written(dir.path())).arg("/no/such/file"));
        assert_eq!(status.code(), Some(2), "ENOENT");
        let status = ended_with(Command::new(written(dir.path())).arg("/proc/self/ns/mnt"));
        assert!(matches!(status.code(), Some(1 | 22)), "EPERM or EINVAL: {status}");
    }

    #[test]
    fn it_enters_and_gives_up_its_rights() {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "this test takes root");
            eprintln!("skipped: only root may enter a namespace");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        let mut command = Command::new("unshare");
        command.arg("--net").arg(&path).arg(format!("/proc/{}/ns/net", std::process::id()));
        let mut child = command.spawn().expect("unshare runs");
        let proc = Path::new("/proc").join(child.id().to_string());
        let net = |proc: &Path| fs::read_link(proc.join("ns/net")).unwrap_or_default();
        let sleeps = || {
            let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
            status.contains("Name:\tpause")
                && status.contains("CapEff:\t0000000000000000")
                && status.contains("CapPrm:\t0000000000000000")
                && status.contains("State:\tS")
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !sleeps() {
            assert_eq!(child.try_wait().expect("a child"), None, "it ended");
            assert!(Instant::now() < deadline, "it does not sleep");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(net(&proc), net(Path::new("/proc/self")), "it is back in our network");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
