//! The one-time code that makes the first person: in a file that only the owner of the data folder reads, never in a log.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use data_encoding::BASE32_NOPAD;

use super::Store;
use super::core::people;
use super::fault::OpenError;
use crate::crypto;

pub const FILE: &str = "setup-code";
/// 80 bits: 16 characters that a person can type.
const CODE_BYTES: usize = 10;
const GROUP: usize = 4;

/// While nobody can sign in: the code, made when there is none. Removes a left-over otherwise.
pub fn ensure(store: &Store) -> Result<Option<String>, OpenError> {
    let path = store.dir().join(FILE);
    let io = |e| OpenError::Folder(path.clone(), e);
    if !people::needs_setup(&store.read()?)? {
        remove(store).map_err(io)?;
        return Ok(None);
    }
    if let Some(code) = read(store).map_err(io)? {
        return Ok(Some(grouped(&code)));
    }
    let code = grouped(&BASE32_NOPAD.encode(&store.entropy.bytes::<CODE_BYTES>()));
    let write = || {
        remove(store)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(format!("{code}\n").as_bytes())?;
        file.sync_all()
    };
    write().map_err(io)?;
    Ok(Some(code))
}

/// `given` is the code, whatever its case and grouping.
pub fn fits(store: &Store, given: &str) -> bool {
    let stored = read(store).unwrap_or_else(|error| {
        tracing::error!(%error, "the setup code cannot be read");
        None
    });
    stored.is_some_and(|stored| crypto::equal(stored.as_bytes(), plain(given).as_bytes()))
}

pub fn remove(store: &Store) -> io::Result<()> {
    match fs::remove_file(store.dir().join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The stored code without its grouping; None when there is none, or a torn one.
fn read(store: &Store) -> io::Result<Option<String>> {
    match fs::read_to_string(store.dir().join(FILE)) {
        Ok(text) => Ok(Some(plain(&text)).filter(|code| BASE32_NOPAD.decode(code.as_bytes()).is_ok_and(|b| b.len() == CODE_BYTES))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

fn grouped(code: &str) -> String {
    let characters: Vec<char> = code.chars().collect();
    let groups: Vec<String> = characters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::store;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_code_stays_until_it_is_used_and_is_private() {
        let (_dir, store) = store();
        let code = ensure(&store).unwrap().unwrap();
        assert_eq!(code.len(), 19);
        assert_eq!(ensure(&store).unwrap().as_deref(), Some(code.as_str()), "a restart keeps it");
        assert!(fits(&store, &code) && fits(&store, &format!(" {} ", code.to_lowercase().replace('-', ""))));
        assert!(!fits(&store, "") && !fits(&store, "AAAA-AAAA-AAAA-AAAA"));
        let mode = fs::metadata(store.dir().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(store.dir().join(FILE), "torn").unwrap();
        assert!(!fits(&store, "torn"));
        assert_ne!(ensure(&store).unwrap().unwrap(), code);
        remove(&store).unwrap();
        assert!(!fits(&store, &code));
    }
}
