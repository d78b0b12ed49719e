//! Settings that people changed while the manager ran. Their texts are sealed, because some of them are secrets.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::audit;
use super::tables::SETTINGS;
use crate::crypto::Entropy;
use crate::domain::audit::Act;
use crate::domain::time::Timestamp;
use crate::storage::Secrets;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// The text of one setting at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSetting {
    sealed: Vec<u8>,
    pub changed_at: Timestamp,
    pub changed_by: String,
}

/// A change of one setting; without a text, what is stored of it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub sealed: Option<Vec<u8>>,
    /// What the audit log says of it: the values before and after, unless they are secret.
    pub remark: String,
}

pub fn seal(secrets: &Secrets, entropy: &Entropy, key: &str, text: &str) -> Vec<u8> {
    secrets.seal(entropy, &context(key), text.as_bytes())
}

fn context(key: &str) -> String {
    format!("settings/{key}")
}

/// Keys and texts of all that is stored, in the order of the keys; there are no more than settings.
pub fn all(read: &impl Read, secrets: &Secrets) -> Result<Vec<(String, String)>, Fault> {
    let mut rows = Vec::new();
    read.for_each(SETTINGS, .., |key, setting| {
        rows.push((key, setting));
        ControlFlow::Continue(())
    })?;
    let opened = |(key, setting): (String, StoredSetting)| {
        let wrong = |why: &str| Fault::Record { table: SETTINGS.name, key: key.clone(), why: why.into() };
        let plain = secrets.open(&context(&key), &setting.sealed).map_err(|_| wrong("does not open with secret.key"))?;
        let text = String::from_utf8(plain).map_err(|_| wrong("is no text"))?;
        Ok((key, text))
    };
    rows.into_iter().map(opened).collect()
}

/// All of `changes` together, each with an audit entry.
pub fn change(tx: &mut WriteTx<'_>, act: &Act, changes: &[Change]) -> Result<(), TxError> {
    for Change { key, sealed, remark } in changes {
        match sealed {
            Some(sealed) => {
                let (changed_at, changed_by) = (act.now.wall, act.actor.to_string());
                tx.put(SETTINGS, key, &StoredSetting { sealed: sealed.clone(), changed_at, changed_by })?;
                audit::append(tx, act.draft("setting.change", key).because(remark))?;
            }
            None => {
                tx.delete(SETTINGS, key)?;
                audit::append(tx, act.draft("setting.reset", key).because(remark))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fixture, act};
    use super::*;

    #[test]
    fn what_is_stored_is_sealed_audited_and_goes_again() {
        let f = Fixture::new();
        let (secrets, entropy) = (f.store.secrets.clone(), Entropy::new());
        let set = |key: &str, text: &str| Change {
            key: key.into(),
            sealed: Some(seal(&secrets, &entropy, key, text)),
            remark: format!("to {text}"),
        };
        let changes = [set("payout.threshold_usdt", "12.5"), set("log.level", "debug")];
        let audited = f.audited();
        f.write(move |tx, _| change(tx, &act(), &changes)).unwrap();
        let pair = |key: &str, text: &str| (key.to_owned(), text.to_owned());
        let all_now = || all(&f.store.read().unwrap(), &f.store.secrets).unwrap();
        assert_eq!(all_now(), [pair("log.level", "debug"), pair("payout.threshold_usdt", "12.5")]);
        assert_eq!(f.audited(), audited + 2);
        let row = f.store.read().unwrap().get(SETTINGS, &"log.level".to_owned()).unwrap().unwrap();
        assert!(!row.sealed.windows(5).any(|bytes| bytes == b"debug"));
        let gone = Change { key: "log.level".into(), sealed: None, remark: "back".into() };
        f.write(move |tx, _| change(tx, &act(), std::slice::from_ref(&gone))).unwrap();
        assert_eq!(all_now(), [pair("payout.threshold_usdt", "12.5")]);
    }
}
