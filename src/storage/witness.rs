//! One change by which a file can be asked whether it has a transaction, when its commit failed and nobody knows how far it came.

use super::fault::Fault;
use super::table::Snapshot;

/// The first row that a transaction changes: all of its changes are in the file, or none.
#[derive(Debug, Default)]
pub(super) enum Witness {
    /// The file is the same with the transaction and without it.
    #[default]
    Nothing,
    Row {
        table: &'static str,
        key: Vec<u8>,
        before: Option<Vec<u8>>,
        after: Option<Vec<u8>>,
    },
    /// The row was changed back; of the others nobody knows what they were.
    Lost,
}

impl Witness {
    /// Hears of every change, with the bytes of the record before it and after it.
    pub fn see(&mut self, table: &'static str, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        match self {
            Witness::Nothing if before != after => {
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                *self = Witness::Row { table, key: key.to_vec(), before: owned(before), after: owned(after) };
            }
            Witness::Row { table: of, key: seen, before: first, after: last } if *of == table && seen == key => {
                if first.as_deref() == after {
                    *self = Witness::Lost;
                } else {
                    *last = after.map(<[u8]>::to_vec);
                }
            }
            _ => (),
        }
    }

    /// Whether the file has the transaction; None when it cannot be told.
    pub fn is_in(&self, read: &Snapshot) -> Result<Option<bool>, Fault> {
        match self {
            Witness::Nothing => Ok(Some(false)),
            Witness::Lost => Ok(None),
            Witness::Row { table, key, before, after } => {
                let found = match read.open(table) {
                    Ok(open) => open.get(key.as_slice())?.map(|row| row.value().to_vec()),
                    // A transaction that made the table is not there.
                    Err(_) => None,
                };
                Ok(if found == *after {
                    Some(true)
                } else if found == *before {
                    Some(false)
                } else {
                    None
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_differs_is_kept_as_it_was_and_as_it_became() {
        let mut witness = Witness::default();
        witness.see("a", b"k", Some(b"same"), Some(b"same"));
        assert!(matches!(witness, Witness::Nothing));
        witness.see("a", b"k", Some(b"one"), Some(b"two"));
        witness.see("b", b"k", None, Some(b"other"));
        witness.see("a", b"k", Some(b"two"), None);
        let Witness::Row { table, before, after, .. } = &witness else { panic!("{witness:?}") };
        assert_eq!((*table, before.as_deref(), after.as_deref()), ("a", Some(&b"one"[..]), None));
        witness.see("a", b"k", None, Some(b"one"));
        witness.see("b", b"k", Some(b"other"), Some(b"more"));
        assert!(matches!(witness, Witness::Lost), "what the others were before nobody knows");
    }
}
