//! What is going on: the backup that somebody asked for, how far the present one is, how the last one ended. In memory; `core::backups` has what must outlive the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::{Made, Progress};
use crate::domain::refusal::Refusal;
use crate::domain::time::Timestamp;

/// The runs of this process are numbered.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Of the last run that was asked for or began.
    pub number: u64,
    /// Asked for, and not begun.
    pub asked: Option<Asked>,
    pub running: Option<Running>,
    pub ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub number: u64,
    /// Another folder than that of the settings.
    pub to: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub number: u64,
    pub since: Timestamp,
    /// None: it waits for the disk.
    pub progress: Option<Progress>,
}

#[derive(Debug, Clone)]
pub struct Ended {
    pub number: u64,
    pub at: Timestamp,
    pub outcome: Result<Arc<Made>, String>,
}

/// One at a time: who asks, who makes it, and who watches, meet here.
pub struct Runs {
    state: watch::Sender<State>,
    stopping: AtomicBool,
}

impl Default for Runs {
    fn default() -> Runs {
        Runs { state: watch::Sender::new(State::default()), stopping: AtomicBool::new(false) }
    }
}

impl Runs {
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Wakes at every change.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Asks for one; whoever makes them has to be woken. Its number.
    pub fn ask(&self, to: Option<PathBuf>) -> Result<u64, Refusal> {
        let mut answer = Err(Refusal::BackupRunning);
        self.state.send_if_modified(|state| {
            let is_free = state.asked.is_none() && state.running.is_none();
            if is_free {
                state.number += 1;
                state.asked = Some(Asked { number: state.number, to: to.clone() });
                answer = Ok(state.number);
            }
            is_free
        });
        answer
    }

    /// Begins what was asked for, or what is due; None: neither. The other folder, if one was asked for.
    pub fn begin(&self, is_due: bool, now: Timestamp) -> Option<(u64, Option<PathBuf>)> {
        let mut begun = None;
        self.state.send_if_modified(|state| {
            if state.running.is_some() || (state.asked.is_none() && !is_due) {
                return false;
            }
            let asked = state.asked.take().unwrap_or_else(|| {
                state.number += 1;
                Asked { number: state.number, to: None }
            });
            state.running = Some(Running { number: asked.number, since: now, progress: None });
            begun = Some((asked.number, asked.to));
            true
        });
        begun
    }

    /// False when it is to end.
    pub fn at(&self, progress: Progress) -> bool {
        self.state.send_if_modified(|state| match &mut state.running {
            Some(running) if running.progress != Some(progress) => {
                running.progress = Some(progress);
                true
            }
            _ => false,
        });
        !self.stopping.load(Ordering::Acquire)
    }

    pub fn end(&self, number: u64, at: Timestamp, outcome: Result<Arc<Made>, String>) {
        self.state.send_modify(|state| {
            state.running = None;
            state.ended = Some(Ended { number, at, outcome });
        });
    }

    /// What is being made ends at its next step.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
