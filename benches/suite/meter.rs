//! What a piece of work costs: time, processor time, memory.

use std::time::{Duration, Instant};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) rows_per_second: f64,
    /// Processor time of this process a row, nanoseconds.
    pub(crate) cpu_ns: f64,
    /// The most memory that this process has held meanwhile, MiB.
    pub(crate) peak_mib: f64,
    pub(crate) elapsed: Duration,
}

impl Figure {
    /// The better of each number of two rounds; of the memory the greater.
    pub(crate) fn best(self, other: Self) -> Self {
        Self {
            rows_per_second: self.rows_per_second.max(other.rows_per_second),
            cpu_ns: self.cpu_ns.min(other.cpu_ns),
            peak_mib: self.peak_mib.max(other.peak_mib),
            elapsed: self.elapsed.min(other.elapsed),
        }
    }
}

/// Runs something that reads so many rows.
///
/// # Errors
/// What the work itself reports.
pub(crate) fn measure(
    rows: u64,
    work: impl FnOnce() -> Result<(), String>,
) -> Result<Figure, String> {
    forget_peak();
    let (began, cpu) = (Instant::now(), cpu_time());
    work()?;
    let (elapsed, cpu) = (began.elapsed(), cpu_time() - cpu);
    Ok(Figure {
        rows_per_second: rows as f64 / elapsed.as_secs_f64(),
        cpu_ns: cpu.as_nanos() as f64 / rows as f64,
        peak_mib: memory_mib("self", "VmHWM"),
        elapsed,
    })
}

/// User and system time of this process, of all its threads.
pub(crate) fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call fills the structure that it is given; it is read only when it says so.
    let usage = unsafe {
        assert_eq!(
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()),
            0,
            "a process may ask for its own usage"
        );
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// User and system time of another process, in steps of the kernel's hundredths of seconds.
pub(crate) fn cpu_time_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| -> u64 { fields.get(field).map_or(0, |f| f.parse().unwrap_or(0)) };
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// A line of a process's memory, MiB: `VmRSS` what it holds now, `VmHWM` what it has held at most.
pub(crate) fn memory_mib(process: &str, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let found = status.lines().find(|found| found.starts_with(line));
    let kib = found.and_then(|found| found.split_whitespace().nth(1));
    kib.map_or(0.0, |kib| kib.parse().unwrap_or(0.0)) / 1_024.0
}

/// Lets `VmHWM` begin anew, where the kernel allows it; else it is the most since the start.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
