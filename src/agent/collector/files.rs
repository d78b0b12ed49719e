//! Small files of the kernel, below a root, with a bound on everything.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Longest file read; what matters stands at the beginning of longer ones.
const MAX_FILE: u64 = 64 << 10;
/// Names listed of a folder, at most.
const MAX_NAMES: usize = 512;

#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    pub fn new(root: impl Into<PathBuf>) -> Files {
        Files { root: root.into() }
    }

    /// Whether these are the files of the running machine.
    pub fn are_real(&self) -> bool {
        self.root.as_os_str() == "/"
    }

    /// `path` is relative to the root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text without white space and NUL at its ends; absent when missing or empty.
    pub fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path)).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Millidegrees as degrees Celsius.
    pub fn celsius(&self, path: &str) -> Option<f64> {
        let millidegrees: i32 = self.text(path)?.parse().ok()?;
        Some(f64::from(millidegrees) / 1000.0)
    }

    /// Names in a folder, sorted.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.flatten().take(MAX_NAMES).filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }
}

/// For values that are rates and shares anyway; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "a counter's difference over 30 s; the result is a rate with a few digits"
)]
pub fn float(value: u64) -> f64 {
    value as f64
}
