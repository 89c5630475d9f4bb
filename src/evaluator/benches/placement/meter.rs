//! Processor time and memory of this process.

/// Counts the processor time of this thread.
pub(crate) struct Meter(f64);

impl Meter {
    pub(crate) fn start() -> Self {
        Self(thread_ms())
    }

    /// Milliseconds since the start.
    pub(crate) fn ms(&self) -> f64 {
        thread_ms() - self.0
    }
}

/// Milliseconds that something takes, by the clock: the processor's time counts in steps that are too long for it.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = std::time::Instant::now();
    let made = work();
    (start.elapsed().as_secs_f64() * 1e3, made)
}

/// Nanoseconds on the processor are the first number of `schedstat`.
fn thread_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    nanos.unwrap_or_default() / 1e6
}

/// Megabytes of memory that are in use.
pub(crate) fn resident_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    pages.unwrap_or_default() * 4096.0 / 1e6
}
