//! Code that several benchmarks share: child processes, and the settings of criterion.

pub mod process;
pub mod settings;

/// The error of a benchmark.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a step of a benchmark.
pub type Result<T, E = Error> = std::result::Result<T, E>;
