//! What must hold of every file, whatever is in it: it is read without a panic, within 64 MiB, and twice alike.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use jobfile::{Inputs, Parsed, Source, holds_job, parse, render};

/// How much memory a file may take at once.
const MAX_PEAK: usize = 64 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Counts what is asked for.
struct Counting;

// SAFETY: every call goes to the system's allocator as it is, and counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads a file and checks what must hold.
pub fn check(path: &str, bytes: &[u8]) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    holds_job(path, bytes);
    let first = read(path, bytes);
    let peak = PEAK.load(Relaxed) - before;
    assert!(peak < MAX_PEAK, "{peak} bytes at once");
    assert!(first.jobs.is_empty() || !first.has_errors(), "a job in spite of errors");
    let text = String::from_utf8_lossy(bytes);
    for found in &first.diagnostics {
        render(found, Some(&text), false);
    }
    let second = read(path, bytes);
    assert_eq!(first.diagnostics, second.diagnostics, "read twice");
    assert_eq!(first.jobs, second.jobs, "read twice");
}

fn read(path: &str, bytes: &[u8]) -> Parsed {
    parse(Source { path, bytes }, &Inputs::default())
}
