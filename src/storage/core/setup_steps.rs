//! How far the first steps have come. A step without a row is open; a store of an earlier release has no rows.

use super::tables::SETUP_STEPS;
use super::{audit, people};
use crate::domain::audit::Act;
use crate::domain::ids::UserId;
use crate::domain::setup::{SetupMark, Step, StepState};
use crate::domain::time::Timestamp;
use crate::storage::fault::{Fault, TxError};
use crate::storage::table::{Read, WriteTx};

/// A step with what is recorded of it; `None` when it is open.
pub fn mark(read: &impl Read, step: Step) -> Result<Option<SetupMark>, Fault> {
    let recorded = read.get(SETUP_STEPS, &step.as_str().to_owned())?;
    if step != Step::Account || recorded.is_some() {
        return Ok(recorded);
    }
    // A store of an earlier release has no record of who came first, but the account itself.
    let first = people::users(read)?.into_iter().min_by_key(|user| user.created_at);
    Ok(first.map(|user| SetupMark { skipped: false, at: user.created_at, by: user.id.to_string() }))
}

/// The steps that nobody has done or skipped yet, in their order.
pub fn open(read: &impl Read) -> Result<Vec<Step>, Fault> {
    let mut open = Vec::new();
    for step in Step::ALL {
        if mark(read, step)?.is_none() {
            open.push(step);
        }
    }
    Ok(open)
}

/// Records whose account was the first.
pub fn account_made(tx: &mut WriteTx<'_>, by: &UserId, now: Timestamp) -> Result<(), TxError> {
    tx.put(SETUP_STEPS, &Step::Account.as_str().to_owned(), &SetupMark { skipped: false, at: now, by: by.to_string() })
}

/// Records a state that `Step::check` allowed.
pub fn set(tx: &mut WriteTx<'_>, step: Step, state: StepState, act: &Act) -> Result<(), TxError> {
    if step == Step::Account {
        return Ok(());
    }
    put(tx, step, state, act)?;
    audit::append(tx, act.draft("setup.step", step.as_str()).because(state.as_str()))
}

/// A recovery kit was made; its own audit entry says so.
pub fn kit_made(tx: &mut WriteTx<'_>, act: &Act) -> Result<(), TxError> {
    put(tx, Step::RecoveryKit, StepState::Done, act)
}

fn put(tx: &mut WriteTx<'_>, step: Step, state: StepState, act: &Act) -> Result<(), TxError> {
    let key = step.as_str().to_owned();
    match state {
        StepState::Open => tx.delete(SETUP_STEPS, &key).map(drop),
        StepState::Done | StepState::Skipped => {
            let skipped = state == StepState::Skipped;
            tx.put(SETUP_STEPS, &key, &SetupMark { skipped, at: act.now.wall, by: act.actor.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::core::testing::{Fixture, act};

    #[test]
    fn steps_are_open_until_they_are_done_or_skipped() {
        let f = Fixture::new();
        let open_now = || open(&f.store.read().unwrap()).unwrap();
        assert_eq!(open_now(), Step::ALL, "nobody has an account yet");
        f.write(|tx, _| set(tx, Step::Pool, StepState::Skipped, &act())).unwrap();
        f.write(|tx, _| set(tx, Step::Clock, StepState::Done, &act())).unwrap();
        f.write(|tx, _| kit_made(tx, &act())).unwrap();
        assert_eq!(open_now(), [Step::Account, Step::Storage, Step::Network, Step::Enrol]);
        let marked = mark(&f.store.read().unwrap(), Step::Pool).unwrap().unwrap();
        assert_eq!((marked.state(), marked.by.as_str()), (StepState::Skipped, "system"));
        f.write(|tx, _| set(tx, Step::Pool, StepState::Open, &act())).unwrap();
        assert!(open_now().contains(&Step::Pool));
    }
}
