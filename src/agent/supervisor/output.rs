//! What the workload prints: one file that it appends to by itself, so that it can go on without an agent, and the end of the one before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub const FILE: &str = "workload.log";
/// The file is cut when it is longer than this; as much is kept of what was in it.
pub const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    max_bytes: u64,
}

impl Output {
    pub fn new(folder: &Path) -> Output {
        Output { path: folder.join(FILE), max_bytes: MAX_BYTES }
    }

    /// For the workload: appending, so that it goes on at the start of a file that was cut.
    pub fn open(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }

    /// Cuts a file that has grown too long. The workload holds it open, so it is emptied and not renamed; a line or two may be lost on the way.
    pub fn rotate(&self) -> io::Result<()> {
        let length = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if length <= self.max_bytes {
            return Ok(());
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        file.seek(SeekFrom::Start(length - self.max_bytes))?;
        let older = self.path.with_extension("log.1");
        let mut kept = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(older)?;
        io::copy(&mut (&mut file).take(self.max_bytes), &mut kept)?;
        file.set_len(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::agent::state::tests::Folder;

    #[test]
    fn a_long_file_is_cut_while_it_is_written_and_its_end_is_kept() {
        let folder = Folder::new();
        let output = Output { max_bytes: 10, ..Output::new(folder.path()) };
        output.rotate().unwrap();
        let mut workload = output.open().unwrap();
        workload.write_all(b"0123456789").unwrap();
        output.rotate().unwrap();
        workload.write_all(b"abcde").unwrap();
        output.rotate().unwrap();
        workload.write_all(b"next").unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("workload.log").as_str(), read("workload.log.1").as_str()), ("next", "56789abcde"));
    }
}
