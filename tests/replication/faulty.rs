//! A cluster that fails by script.

use std::fmt;
use std::sync::{Arc, Mutex};

use lucid::domain::replica::cluster::{Claim, Managed, Position, Round, Trouble};
use lucid::domain::replica::{Document, Fields, Rev};
use lucid::gateways::chain::Boxed;
use lucid::gateways::replica::{Cluster, From, Index, NotTaken, Of, Older, Row};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Fine,
    /// It does not arrive.
    Lost,
    /// It is done, and the answer does not arrive.
    Unanswered,
    /// Of documents every other one is written, and the answer does not arrive.
    Half,
    /// Of documents one is not taken.
    Spurned,
    /// This collection takes nothing, all others do.
    Refuses(&'static str),
}

pub struct Faulty {
    inner: Arc<dyn Cluster>,
    fate: Mutex<Box<dyn FnMut() -> Fate + Send>>,
    what: What,
}

/// Which requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    All,
    /// Documents and parts of rounds.
    Rows,
    /// Documents of this table.
    Table(&'static str),
    /// The question what of this table is of before.
    Older(&'static str),
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn away() -> Trouble {
    Trouble::Away("by script".into())
}

impl Faulty {
    pub fn before(inner: Arc<dyn Cluster>, fate: impl FnMut() -> Fate + Send + 'static) -> Arc<Faulty> {
        Arc::new(Faulty { inner, fate: Mutex::new(Box::new(fate)), what: What::All })
    }

    /// The same, and all but documents and parts of rounds arrives.
    pub fn before_rows(inner: Arc<dyn Cluster>, fate: impl FnMut() -> Fate + Send + 'static) -> Arc<Faulty> {
        Arc::new(Faulty { inner, fate: Mutex::new(Box::new(fate)), what: What::Rows })
    }

    /// The same, and all but the question what of a table is of before arrives.
    pub fn before_older(inner: Arc<dyn Cluster>, table: &'static str, fate: impl FnMut() -> Fate + Send + 'static) -> Arc<Faulty> {
        Arc::new(Faulty { inner, fate: Mutex::new(Box::new(fate)), what: What::Older(table) })
    }

    /// The same, and all but documents of a table arrives.
    pub fn before_table(inner: Arc<dyn Cluster>, table: &'static str, fate: impl FnMut() -> Fate + Send + 'static) -> Arc<Faulty> {
        Arc::new(Faulty { inner, fate: Mutex::new(Box::new(fate)), what: What::Table(table) })
    }

    fn fate(&self, of: What) -> Fate {
        if self.what == What::All || self.what == of { (self.fate.lock().unwrap())() } else { Fate::Fine }
    }

    fn through<'a, T: Send + 'a>(&'a self, request: Boxed<'a, Result<T, Trouble>>) -> Boxed<'a, Result<T, Trouble>> {
        meet(self.fate(What::All), request)
    }
}

fn meet<'a, T: Send + 'a>(fate: Fate, request: Boxed<'a, Result<T, Trouble>>) -> Boxed<'a, Result<T, Trouble>> {
    Box::pin(async move {
        match fate {
            Fate::Fine | Fate::Spurned | Fate::Refuses(_) => request.await,
            Fate::Lost => Err(away()),
            Fate::Unanswered | Fate::Half => {
                request.await?;
                Err(away())
            }
        }
    })
}

impl Cluster for Faulty {
    fn managed(&self) -> Boxed<'_, Result<Option<Managed>, Trouble>> {
        self.through(self.inner.managed())
    }
    fn take<'a>(&'a self, claim: &'a Claim, found: Option<&'a Claim>) -> Boxed<'a, Result<bool, Trouble>> {
        self.through(self.inner.take(claim, found))
    }
    fn beat<'a>(&'a self, claim: &'a Claim) -> Boxed<'a, Result<(), Trouble>> {
        self.through(self.inner.beat(claim))
    }
    fn turn<'a>(&'a self, claim: &'a Claim, round: Option<&'a Round>) -> Boxed<'a, Result<(), Trouble>> {
        self.through(self.inner.turn(claim, round))
    }
    fn positions(&self) -> Boxed<'_, Result<Vec<Position>, Trouble>> {
        self.through(self.inner.positions())
    }
    fn put_position<'a>(&'a self, claim: &'a Claim, position: &'a Position) -> Boxed<'a, Result<(), Trouble>> {
        self.through(self.inner.put_position(claim, position))
    }
    fn write<'a>(&'a self, documents: &'a [Document]) -> Boxed<'a, Result<Vec<NotTaken>, Trouble>> {
        let table = documents.first().map(|document| document.table);
        let fate = if table.is_some_and(|table| self.what == What::Table(table)) { self.fate(self.what) } else { self.fate(What::Rows) };
        Box::pin(async move {
            match fate {
                Fate::Fine => self.inner.write(documents).await,
                Fate::Lost => Err(away()),
                Fate::Unanswered => self.inner.write(documents).await.and(Err(away())),
                Fate::Half => {
                    let half: Vec<Document> = documents.iter().step_by(2).cloned().collect();
                    self.inner.write(&half).await.and(Err(away()))
                }
                Fate::Refuses(collection) => {
                    let (not, taken): (Vec<usize>, Vec<usize>) =
                        (0..documents.len()).partition(|at| documents[*at].collection == collection);
                    let taken: Vec<Document> = taken.into_iter().map(|at| documents[at].clone()).collect();
                    self.inner.write(&taken).await?;
                    Ok(not.into_iter().map(|index| NotTaken { index, why: "by script".into() }).collect())
                }
                Fate::Spurned => {
                    self.inner.write(&documents[1..]).await?;
                    Ok(vec![NotTaken { index: 0, why: "by script".into() }])
                }
            }
        })
    }
    fn refresh<'a>(&'a self, of: Of<'a>, seen: &'a [(Vec<u8>, Fields)]) -> Boxed<'a, Result<(), Trouble>> {
        self.through(self.inner.refresh(of, seen))
    }
    fn older<'a>(&'a self, of: Of<'a>, from: From<'a>, than: Rev, limit: usize) -> Boxed<'a, Result<Older, Trouble>> {
        let fate = match self.what {
            What::All => self.fate(What::All),
            What::Older(table) if table == of.table => self.fate(self.what),
            What::Older(_) | What::Rows | What::Table(_) => Fate::Fine,
        };
        meet(fate, self.inner.older(of, from, than, limit))
    }
    fn rows<'a>(&'a self, of: Of<'a>, after: Option<&'a [u8]>, limit: usize) -> Boxed<'a, Result<Vec<Row>, Trouble>> {
        self.through(self.inner.rows(of, after, limit))
    }
    fn row<'a>(&'a self, of: Of<'a>, name: &'a [u8]) -> Boxed<'a, Result<Option<Row>, Trouble>> {
        self.through(self.inner.row(of, name))
    }
    fn put_part(&self, round: Rev, part: u32, attempt: Rev, rows: Vec<u8>) -> Boxed<'_, Result<(), Trouble>> {
        meet(self.fate(What::Rows), self.inner.put_part(round, part, attempt, rows))
    }
    fn part(&self, round: Rev, part: u32) -> Boxed<'_, Result<Option<Vec<u8>>, Trouble>> {
        self.through(self.inner.part(round, part))
    }
    fn drop_parts(&self, before: Rev, but: Option<Rev>) -> Boxed<'_, Result<(), Trouble>> {
        self.through(self.inner.drop_parts(before, but))
    }
    fn indexes<'a>(&'a self, wanted: &'a [Index]) -> Boxed<'a, Result<Vec<String>, Trouble>> {
        self.through(self.inner.indexes(wanted))
    }
}
