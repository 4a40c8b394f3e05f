//! Temporary folders that are removed at the end of the test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of folders that this process has created, which is the number of the next folder.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// An empty folder. The folder and its content are removed when this value is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let number = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("roomcast-{}-{number}", process::id()));
        fs::create_dir(&path).expect("a folder for temporary files can be written to");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
