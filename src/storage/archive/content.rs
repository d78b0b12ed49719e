//! What differs between the kinds of archives: which period is due, what its lines are, and what leaves the store for it.

use std::future::Future;
use std::sync::Arc;

use super::{Failed, Writer};
use crate::domain::archive::{Kind, Manifest};
use crate::domain::statement::Month;
use crate::domain::time::Timestamp;
use crate::storage::Store;
use crate::storage::fault::{Fault, TxError, WriteError};
use crate::storage::table::WriteTx;

/// One archive's lines on their way out of the store.
pub trait Content: Clone + Send + Sync + Sized + 'static {
    const KIND: Kind;

    /// The oldest period of which something is in no archive, if it is of before `kept`. An archive is never empty.
    fn due(store: &Store, kept: Month) -> Result<Option<Self>, Fault>;

    fn period(&self) -> String;

    /// Writes the next page; true when all is written. A snapshot each: one for the whole period would keep old pages of the store alive.
    fn step(&mut self, store: &Store, writer: &mut Writer) -> Result<bool, Failed>;

    /// Notes what the archive covers, in the transaction of its row.
    fn cover(&self, _tx: &mut WriteTx<'_>, _made: &Manifest) -> Result<(), TxError> {
        Ok(())
    }

    /// Whether something that the newest archive or an older one covers is still in the store.
    fn is_left(store: &Store, newest: &Manifest) -> Result<bool, Fault>;

    /// Whether something that this archive covers is in the store.
    fn holds(store: &Store, archive: &Manifest) -> Result<bool, Fault> {
        Self::is_left(store, archive)
    }

    /// Deletes some of that in one transaction; true when there is more.
    fn forget(store: &Arc<Store>, newest: &Manifest) -> impl Future<Output = Result<bool, WriteError>> + Send;
}

/// An archive that is being made.
pub struct Making<C> {
    writer: Writer,
    content: C,
}

impl<C: Content> Making<C> {
    pub fn begin(store: &Store, content: C) -> Result<Making<C>, Failed> {
        let writer = Writer::begin(store, C::KIND, &content.period())?;
        Ok(Making { writer, content })
    }

    /// True when all is written.
    pub fn step(&mut self, store: &Store) -> Result<bool, Failed> {
        self.writer.has_room()?;
        self.content.step(store, &mut self.writer)
    }

    /// The lines are durable then; nothing is recorded.
    pub fn finish(self, store: &Store, now: Timestamp) -> Result<(C, Manifest), Failed> {
        Ok((self.content, self.writer.finish(&store.signing_key, now)?))
    }
}
