//! The cluster over the official driver. The only place that knows it.

use std::fmt;
use std::time::Duration;

use mongodb::bson::{Bson, Document as Doc, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Database};
use tokio::sync::OnceCell;

use super::values::{bounds, bytes, claim, date, fields, id, position, read_bytes, read_managed, read_position, read_rev, rev, round, set};
use super::{Cluster, From, GONE_AT, Index, NotTaken, Of, Older, Row};
use crate::domain::replica::cluster::{Claim, Managed, Position, Round, Trouble};
use crate::domain::replica::{Document, Fields, Rev};
use crate::gateways::chain::Boxed;

pub(super) const MANAGERS: &str = "managers";
const POSITIONS: &str = "manager_positions";
const PARTS: &str = "manager_rounds";
/// Where the connection string names no database.
const DATABASE: &str = "lucid_nodes";

/// A server that says nothing for so long is away, for who sends a little at a time.
pub const ANSWER: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(600);
/// One for what goes, and one for who looks at the fleet meanwhile.
const CONNECTIONS: u32 = 2;
/// Of a table there are at most so many positions, and of a round so many parts.
const PAGE: i64 = 1_000;
const LONGEST_TEXT: usize = 300;

/// Codes of errors.
mod code {
    pub const DUPLICATE_KEY: i32 = 11_000;
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    /// The request is more than the server takes, or not what it reads: of one document of many, maybe.
    pub const OF_A_DOCUMENT: &[i32] = &[2, 9, 14, 17, 22, 52, 55, 56, 57, 10_334, 17_420, 13_103];
    /// Who is asked is not, or not any more, who may be asked.
    pub const PASSING: &[i32] =
        &[6, 7, 50, 64, 89, 91, 100, 112, 133, 189, 202, 216, 262, 402, 9_001, 10_058, 10_107, 11_600, 11_602, 13_388, 13_435, 13_436];
    /// It concerns all that is written, whatever it is.
    pub const OF_ALL: &[i32] = &[8, 13, 18, 20, 8_000, 10_003, 14_031, 12_582];
}

#[derive(Clone)]
pub struct Options {
    /// Connection string; may hold a password.
    pub uri: String,
    pub manager: String,
    pub region: String,
    pub version: String,
    /// For how long an answer is waited for.
    pub patience: Duration,
}

/// Connects when it is asked first.
pub struct Mongo {
    options: Options,
    database: OnceCell<Database>,
}

impl fmt::Debug for Mongo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mongo")
    }
}

/// Whether the driver can make something of a connection string.
///
/// # Errors
/// Why not, without what the string says.
pub async fn check_uri(uri: &str) -> Result<(), String> {
    client_options(uri).await.map(drop)
}

async fn client_options(uri: &str) -> Result<ClientOptions, String> {
    // What the driver says of a string it does not read may quote it.
    let unread = |_| {
        "the connection string is none that the driver reads (for mongodb+srv://, take the standard one that names the hosts)".to_owned()
    };
    let mut options = ClientOptions::parse(uri).await.map_err(unread)?;
    options.app_name = Some("lucid-node-management".into());
    options.connect_timeout = Some(options.connect_timeout.map_or(CONNECT, |set| set.min(CONNECT)));
    options.server_selection_timeout = Some(options.server_selection_timeout.map_or(CONNECT, |set| set.min(CONNECT)));
    options.max_idle_time.get_or_insert(IDLE);
    options.min_pool_size = None;
    options.max_pool_size = Some(CONNECTIONS);
    // What a majority does not have may be taken back, when nothing here remembers that it has to go.
    options.write_concern.get_or_insert_with(WriteConcern::majority).w = Some(Acknowledgment::Majority);
    Ok(options)
}

impl Mongo {
    pub fn new(options: Options) -> Mongo {
        Mongo { options, database: OnceCell::new() }
    }

    async fn database(&self) -> Result<&Database, Trouble> {
        let connect = async {
            let options = client_options(&self.options.uri).await.map_err(Trouble::Refused)?;
            let name = options.default_database.clone().unwrap_or_else(|| DATABASE.into());
            let client = Client::with_options(options).map_err(|error| trouble(&error))?;
            Ok(client.database(&name))
        };
        self.database.get_or_try_init(|| connect).await
    }

    /// One request, with one answer.
    async fn ask(&self, command: Doc) -> Result<Doc, Failed> {
        let database = self.database().await?;
        let patience = self.options.patience;
        match tokio::time::timeout(patience, database.run_command(command)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failed { trouble: trouble(&error), code: code_of(&error) }),
            Err(_) => Err(Trouble::Away(format!("no answer within {} s", patience.as_secs())).into()),
        }
    }

    /// The same of what has to outlive a server.
    async fn ask_to_keep(&self, mut command: Doc) -> Result<Doc, Failed> {
        let concern = self.database().await?.write_concern().cloned().unwrap_or_else(WriteConcern::majority);
        let concern = mongodb::bson::serialize_to_document(&concern).map_err(|error| Trouble::Refused(short(&error.to_string())))?;
        command.insert("writeConcern", concern);
        let answer = self.ask(command).await?;
        match answer.get_document("writeConcernError") {
            Ok(error) => Err(Trouble::Away(format!("it does not keep what is written: {}", message(error))).into()),
            Err(_) => Ok(answer),
        }
    }

    async fn find(&self, collection: &str, filter: Doc, fields: Doc, limit: i64) -> Result<Vec<Doc>, Trouble> {
        self.find_within(collection, filter, fields, limit, None).await
    }

    /// The same, for which the server may take so many ms.
    pub(super) async fn find_within(
        &self,
        collection: &str,
        filter: Doc,
        fields: Doc,
        limit: i64,
        max_time_ms: Option<i64>,
    ) -> Result<Vec<Doc>, Trouble> {
        // One page in one answer: no cursor is left open there.
        let mut command = doc! {
            "find": collection,
            "filter": filter,
            "projection": fields,
            "sort": { "_id": 1 },
            "limit": limit,
            "batchSize": limit,
            "singleBatch": true,
        };
        command.extend(max_time_ms.map(|ms| ("maxTimeMS".to_owned(), Bson::Int64(ms))));
        self.first_batch(command).await
    }

    /// The documents of a question that has all of them in its one answer.
    pub(super) async fn first_batch(&self, command: Doc) -> Result<Vec<Doc>, Trouble> {
        let answer = self.ask(command).await?;
        let page = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let page = page.map_err(|_| Trouble::Refused("its answer has no documents".into()))?;
        Ok(page.iter().filter_map(|found| found.as_document().cloned()).collect())
    }

    /// How many documents were found by what they were to be.
    async fn update(&self, collection: &str, statements: Vec<Doc>) -> Result<i64, Trouble> {
        let answer = self.ask_to_keep(doc! { "update": collection, "updates": statements, "ordered": false }).await?;
        match first_error(&answer) {
            Some(error) => Err(of_write(error).err().unwrap_or_else(|| Trouble::Refused(message(error)))),
            None => Ok(count(&answer)),
        }
    }

    /// Writes one document over an older one, if it is there and fits; where a newer one is, that stays.
    async fn put(&self, collection: &str, older: Doc, set: Doc) -> Result<(), Trouble> {
        let update = doc! { "q": older, "u": { "$set": set }, "upsert": true };
        let answer = self.ask_to_keep(doc! { "update": collection, "updates": [update] }).await?;
        match first_error(&answer) {
            Some(error) if !(is_duplicate(error) && is_of_id(error)) => {
                Err(of_write(error).err().unwrap_or_else(|| Trouble::Refused(message(error))))
            }
            _ => Ok(()),
        }
    }

    /// Ids of this manager's documents in its own collections.
    fn own(&self) -> Doc {
        doc! { "$gte": format!("{}/", self.options.manager), "$lt": format!("{}0", self.options.manager) }
    }

    /// Of this manager, while it is the one that writes.
    fn held(&self, claim: &Claim) -> Doc {
        doc! { "_id": &self.options.manager, "run": &claim.run }
    }

    async fn change_held(&self, held: Doc, change: Doc) -> Result<(), Trouble> {
        match self.update(MANAGERS, vec![doc! { "q": held, "u": { "$set": change } }]).await? {
            0 => Err(Trouble::Claimed),
            _ => Ok(()),
        }
    }

    async fn take_claim(&self, mine: &Claim, found: Option<&Claim>) -> Result<bool, Trouble> {
        let mut set = claim(mine);
        set.extend(doc! { "region": &self.options.region, "version": &self.options.version });
        let Some(found) = found else {
            set.insert("_id", &self.options.manager);
            set.insert("manager_id", &self.options.manager);
            set.insert("round", Bson::Null);
            let answer = self.ask_to_keep(doc! { "insert": MANAGERS, "documents": [set] }).await?;
            return match first_error(&answer) {
                None => Ok(true),
                Some(error) if is_duplicate(error) => Ok(false),
                Some(error) => Err(of_write(error).err().unwrap_or_else(|| Trouble::Refused(message(error)))),
            };
        };
        let mut as_found = self.held(found);
        as_found.insert("beat", i64::try_from(found.beat).unwrap_or(i64::MAX));
        Ok(self.update(MANAGERS, vec![doc! { "q": as_found, "u": { "$set": set } }]).await? > 0)
    }

    async fn write_all(&self, documents: &[Document]) -> Result<Vec<NotTaken>, Trouble> {
        let mut not_taken = Vec::new();
        let mut collections: Vec<&str> = documents.iter().map(|document| document.collection).collect();
        collections.sort_unstable();
        collections.dedup();
        for collection in collections {
            let of: Vec<usize> = (0..documents.len()).filter(|at| documents[*at].collection == collection).collect();
            let mut open = vec![of];
            while let Some(part) = open.pop() {
                match self.write_some(collection, documents, &part).await {
                    Ok(refused) => not_taken.extend(refused),
                    Err(Failed { code: Some(code), trouble }) if code::OF_A_DOCUMENT.contains(&code) => match part.as_slice() {
                        [index] => not_taken.push(NotTaken { index: *index, why: trouble.to_string() }),
                        // One of them spoils it for the others.
                        _ => {
                            let (left, right) = part.split_at(part.len() / 2);
                            open.extend([left.to_vec(), right.to_vec()]);
                        }
                    },
                    Err(failed) => return Err(failed.trouble),
                }
            }
        }
        Ok(not_taken)
    }

    async fn write_some(&self, collection: &str, documents: &[Document], of: &[usize]) -> Result<Vec<NotTaken>, Failed> {
        let older = |document: &Document| {
            doc! { "_id": self.id_of(document), "manager_id": &self.options.manager, "rev": { "$lt": rev(document.rev) } }
        };
        // What was readable of a row goes with it: what is written in its place has nothing of it. Cut off in between, it is written again.
        let gone = of.iter().filter(|at| documents[**at].record.is_none());
        let gone: Vec<Doc> = gone.map(|at| doc! { "q": older(&documents[*at]), "limit": 1 }).collect();
        if !gone.is_empty() {
            let answer = self.ask_to_keep(doc! { "delete": collection, "deletes": gone, "ordered": false }).await?;
            if let Some(error) = first_error(&answer) {
                of_write(error)?;
            }
        }
        let update = |document: &Document| {
            let mut change = doc! { "$set": set(document, &self.options.region) };
            match document.record {
                // By the clock of the server, which is the one that lets go of it.
                None => change.insert("$currentDate", doc! { GONE_AT: true }),
                // A row that is there again must not go for having been gone.
                Some(_) => change.insert("$unset", doc! { GONE_AT: "" }),
            };
            doc! { "q": older(document), "u": change, "upsert": true }
        };
        let updates: Vec<Doc> = of.iter().map(|at| update(&documents[*at])).collect();
        let answer = self.ask_to_keep(doc! { "update": collection, "updates": updates, "ordered": false }).await?;
        let (mut not_taken, mut duplicates) = (Vec::new(), Vec::new());
        for error in errors(&answer) {
            // It has a newer one: that was not found by its age, and stands in the way.
            if is_duplicate(error) && is_of_id(error) {
                continue;
            }
            of_write(error)?;
            let index = error.get("index").and_then(|index| index.as_i64().or(index.as_i32().map(Into::into)));
            let index = index.and_then(|index| of.get(usize::try_from(index).ok()?)).copied();
            let index = index.ok_or_else(|| Trouble::Refused("its answer names a document that was not sent".into()))?;
            if is_duplicate(error) {
                duplicates.push(index);
            }
            not_taken.push(NotTaken { index, why: message(error) });
        }
        // Where the owner has a unique index, too, the server may have met that one first.
        if !duplicates.is_empty() {
            let ids: Vec<String> = duplicates.iter().map(|at| self.id_of(&documents[*at])).collect();
            let there = self.find(collection, doc! { "_id": { "$in": ids } }, doc! { "rev": 1 }, PAGE).await?;
            let is_newer = |document: &Document| {
                let id = self.id_of(document);
                there.iter().any(|found| {
                    found.get_str("_id").is_ok_and(|of| of == id) && read_rev(found, "rev").is_some_and(|rev| rev >= document.rev)
                })
            };
            not_taken.retain(|not| !(duplicates.contains(&not.index) && is_newer(&documents[not.index])));
        }
        Ok(not_taken)
    }

    fn id_of(&self, document: &Document) -> String {
        id(&self.options.manager, document.table, &document.name)
    }

    fn range(&self, table: &str, from: From<'_>) -> Doc {
        let (above, below) = bounds(&self.options.manager, table);
        let named = |name: &[u8]| id(&self.options.manager, table, name);
        let lower = match from {
            From::Start => doc! { "$gte": above },
            From::Name(from) => doc! { "$gte": named(from) },
            From::After(after) => doc! { "$gt": named(after) },
        };
        let mut range = lower;
        range.insert("$lt", below);
        range
    }

    fn within(&self, table: &str, from: From<'_>) -> Doc {
        doc! { "_id": self.range(table, from), "deleted": false }
    }

    async fn make_indexes(&self, wanted: &[Index]) -> Result<Vec<String>, Trouble> {
        let mut otherwise = Vec::new();
        let mut collections: Vec<&str> = wanted.iter().map(|index| index.collection).collect();
        collections.dedup();
        for collection in collections {
            let there = self.indexes_of(collection).await?;
            let mut missing = Vec::new();
            for index in wanted.iter().filter(|index| index.collection == collection) {
                let (keys, name) = (keys(index), name(index));
                match there.iter().find(|there| same_keys(there, &keys)) {
                    Some(there) => {
                        if let Some(how) = otherwise_than(there, index) {
                            otherwise.push(format!("{collection}.{name}: {how}"));
                        }
                    }
                    None => {
                        let mut index_of = doc! { "key": keys, "name": &name };
                        if let Some(seconds) = index.expire_seconds {
                            index_of.insert("expireAfterSeconds", i64::from(seconds));
                        }
                        missing.push((name, index_of));
                    }
                }
            }
            // One by one: what the server does not want of one is no matter of the others.
            for (name, index) in missing {
                match self.ask(doc! { "createIndexes": collection, "indexes": [index] }).await {
                    Ok(_) => (),
                    // Large collections take their time: it goes on there.
                    Err(Failed { trouble, .. }) => otherwise.push(format!("{collection}.{name}: {trouble}")),
                }
            }
        }
        Ok(otherwise)
    }

    async fn indexes_of(&self, collection: &str) -> Result<Vec<Doc>, Trouble> {
        let answer = match self.ask(doc! { "listIndexes": collection, "cursor": { "batchSize": PAGE } }).await {
            Ok(answer) => answer,
            Err(Failed { code: Some(code::NAMESPACE_NOT_FOUND), .. }) => return Ok(Vec::new()),
            Err(failed) => return Err(failed.trouble),
        };
        let list = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let list = list.map_err(|_| Trouble::Refused("its answer has no indexes".into()))?;
        Ok(list.iter().filter_map(|index| index.as_document().cloned()).collect())
    }
}

impl Cluster for Mongo {
    fn managed(&self) -> Boxed<'_, Result<Option<Managed>, Trouble>> {
        Box::pin(async move {
            let found = self.find(MANAGERS, doc! { "_id": &self.options.manager }, doc! {}, 1).await?;
            let Some(found) = found.first() else { return Ok(None) };
            let managed = read_managed(found);
            managed.map(Some).ok_or_else(|| Trouble::Refused(format!("{MANAGERS} has a document of this manager that no manager wrote")))
        })
    }

    fn take<'a>(&'a self, claim: &'a Claim, found: Option<&'a Claim>) -> Boxed<'a, Result<bool, Trouble>> {
        Box::pin(self.take_claim(claim, found))
    }

    fn beat<'a>(&'a self, of: &'a Claim) -> Boxed<'a, Result<(), Trouble>> {
        let beat = i64::try_from(of.beat).unwrap_or(i64::MAX);
        let change = doc! { "beat": beat, "released": of.is_released, "seen_at": date(of.seen_at) };
        // Of a cluster that was set back, the beat before is not the last one.
        let mut held = self.held(of);
        held.insert("beat", beat - 1);
        Box::pin(self.change_held(held, change))
    }

    fn turn<'a>(&'a self, claim: &'a Claim, to: Option<&'a Round>) -> Boxed<'a, Result<(), Trouble>> {
        // One that was given up and arrives late is of another beat: what it names may be gone by then.
        let mut held = self.held(claim);
        held.insert("beat", i64::try_from(claim.beat).unwrap_or(i64::MAX));
        let change = doc! { "round": round(to) };
        Box::pin(self.change_held(held, change))
    }

    fn positions(&self) -> Boxed<'_, Result<Vec<Position>, Trouble>> {
        Box::pin(async move {
            let found = self.find(POSITIONS, doc! { "_id": self.own() }, doc! {}, PAGE).await?;
            Ok(found.iter().filter_map(read_position).collect())
        })
    }

    fn put_position<'a>(&'a self, claim: &'a Claim, of: &'a Position) -> Boxed<'a, Result<(), Trouble>> {
        // One that was given up and arrives late is of another beat: what it says may have been taken back since. Of another copy beats say nothing.
        let beat = i64::try_from(claim.beat).unwrap_or(i64::MAX);
        let older = vec![doc! { "beat": { "$lte": beat } }, doc! { "copy": { "$ne": &claim.copy } }];
        let q = doc! { "_id": format!("{}/{}", self.options.manager, of.table), "manager_id": &self.options.manager, "$or": older };
        let mut set = position(of);
        set.insert("beat", beat);
        Box::pin(self.put(POSITIONS, q, set))
    }

    fn write<'a>(&'a self, documents: &'a [Document]) -> Boxed<'a, Result<Vec<NotTaken>, Trouble>> {
        Box::pin(self.write_all(documents))
    }

    fn refresh<'a>(&'a self, of: Of<'a>, seen: &'a [(Vec<u8>, Fields)]) -> Boxed<'a, Result<(), Trouble>> {
        let manager = &self.options.manager;
        let statement = |(name, seen): &(Vec<u8>, Fields)| {
            let q = doc! { "_id": id(manager, of.table, name), "manager_id": manager, "deleted": false };
            let mut set = fields(seen);
            set.insert("region", &self.options.region);
            doc! { "q": q, "u": { "$set": set } }
        };
        let statements: Vec<Doc> = seen.iter().map(statement).collect();
        Box::pin(async move { self.update(of.collection, statements).await.map(drop) })
    }

    fn older<'a>(&'a self, of: Of<'a>, from: From<'a>, than: Rev, limit: usize) -> Boxed<'a, Result<Older, Trouble>> {
        // Whether one is older is looked at here: there is no index over revisions, and a server that looks for one that is may read all there are.
        let filter = doc! { "_id": self.range(of.table, from) };
        let limit = i64::try_from(limit).unwrap_or(PAGE);
        Box::pin(async move {
            let found = self.find(of.collection, filter, doc! { "key": 1, "rev": 1, "deleted": 1 }, limit).await?;
            let is_there = |found: &&Doc| !found.get_bool("deleted").unwrap_or_default();
            let row = |found: &Doc| Some((read_bytes(found, "key")?, read_rev(found, "rev")?));
            let rows = found.iter().filter(is_there).filter_map(row).filter(|(_, rev)| *rev < than).collect();
            Ok(Older { rows, last: found.iter().rev().find_map(|found| read_bytes(found, "key")) })
        })
    }

    fn rows<'a>(&'a self, of: Of<'a>, after: Option<&'a [u8]>, limit: usize) -> Boxed<'a, Result<Vec<Row>, Trouble>> {
        let filter = self.within(of.table, after.map_or(From::Start, From::After));
        let limit = i64::try_from(limit).unwrap_or(PAGE);
        Box::pin(async move {
            let found = self.find(of.collection, filter, doc! { "key": 1, "rev": 1, "record": 1 }, limit).await?;
            let rows: Result<Vec<Row>, &Doc> = found.iter().map(|found| read_row(found).ok_or(found)).collect();
            rows.map_err(|odd| {
                let id = odd.get_str("_id").unwrap_or("?");
                Trouble::Refused(format!(
                    "{} has a document {id} that no manager wrote: it has to go before anything is read",
                    of.collection
                ))
            })
        })
    }

    fn row<'a>(&'a self, of: Of<'a>, name: &'a [u8]) -> Boxed<'a, Result<Option<Row>, Trouble>> {
        let filter = doc! { "_id": id(&self.options.manager, of.table, name), "deleted": false };
        Box::pin(async move {
            let found = self.find(of.collection, filter, doc! { "key": 1, "rev": 1, "record": 1 }, 1).await?;
            Ok(found.first().and_then(read_row))
        })
    }

    fn put_part(&self, of: Rev, part: u32, attempt: Rev, rows: Vec<u8>) -> Boxed<'_, Result<(), Trouble>> {
        let q = doc! { "_id": self.part_id(of, part), "manager_id": &self.options.manager, "attempt": { "$lt": rev(attempt) } };
        let set = doc! { "round": rev(of), "part": i64::from(part), "attempt": rev(attempt), "rows": bytes(&rows) };
        Box::pin(self.put(PARTS, q, set))
    }

    fn part(&self, of: Rev, part: u32) -> Boxed<'_, Result<Option<Vec<u8>>, Trouble>> {
        let id = self.part_id(of, part);
        Box::pin(async move {
            let found = self.find(PARTS, doc! { "_id": id }, doc! { "rows": 1 }, 1).await?;
            Ok(found.first().and_then(|found| read_bytes(found, "rows")))
        })
    }

    fn drop_parts(&self, before: Rev, but: Option<Rev>) -> Boxed<'_, Result<(), Trouble>> {
        let but = but.map_or(Bson::Null, rev);
        let others = doc! { "_id": self.own(), "round": { "$lt": rev(before), "$ne": but } };
        let command = doc! { "delete": PARTS, "deletes": [{ "q": others, "limit": 0 }] };
        Box::pin(async move { Ok(self.ask_to_keep(command).await.map(drop)?) })
    }

    fn indexes<'a>(&'a self, wanted: &'a [Index]) -> Boxed<'a, Result<Vec<String>, Trouble>> {
        Box::pin(self.make_indexes(wanted))
    }
}

impl Mongo {
    fn part_id(&self, of: Rev, part: u32) -> String {
        format!("{}/{:016x}/{part:08x}", self.options.manager, of.0)
    }
}

fn read_row(found: &Doc) -> Option<Row> {
    Some(Row { name: read_bytes(found, "key")?, rev: read_rev(found, "rev")?, record: read_bytes(found, "record")? })
}

fn keys(index: &Index) -> Doc {
    index.fields.iter().map(|(field, down)| ((*field).to_owned(), Bson::Int32(if *down { -1 } else { 1 }))).collect()
}

/// As every client of the cluster would name it.
fn name(index: &Index) -> String {
    let parts: Vec<String> = index.fields.iter().map(|(field, down)| format!("{field}_{}", if *down { "-1" } else { "1" })).collect();
    parts.join("_")
}

/// Directions come back as whatever kind of number.
fn same_keys(there: &Doc, keys: &Doc) -> bool {
    let way = |value: &Bson| value.as_i32().map(i64::from).or(value.as_i64()).or(value.as_f64().map(|way| if way < 0.0 { -1 } else { 1 }));
    let Ok(there) = there.get_document("key") else { return false };
    let same = |(ours, theirs): ((&String, &Bson), (&String, &Bson))| ours.0 == theirs.0 && way(ours.1) == way(theirs.1);
    there.len() == keys.len() && keys.iter().zip(there.iter()).all(same)
}

/// What would make it another index than the one that is wanted.
fn otherwise_than(there: &Doc, wanted: &Index) -> Option<String> {
    let seconds = there.get("expireAfterSeconds").and_then(|of| of.as_i64().or(of.as_i32().map(Into::into)).or(of.as_f64().map(whole)));
    if seconds != wanted.expire_seconds.map(i64::from) {
        let told = |seconds: Option<i64>| seconds.map_or_else(|| "never".to_owned(), |seconds| format!("after {seconds} s"));
        return Some(format!("deletes documents {}, not {}", told(seconds), told(wanted.expire_seconds.map(i64::from))));
    }
    let with = |name: &str| there.get(name).is_some_and(|value| !matches!(value, Bson::Boolean(false) | Bson::Null));
    ["unique", "sparse", "partialFilterExpression", "hidden"].into_iter().find(|name| with(name)).map(|name| format!("is {name}"))
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of an index")]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

/// A request that failed, with the code that the server gave.
struct Failed {
    trouble: Trouble,
    code: Option<i32>,
}

impl std::convert::From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Failed {
        Failed { trouble, code: None }
    }
}

impl std::convert::From<Failed> for Trouble {
    fn from(failed: Failed) -> Trouble {
        failed.trouble
    }
}

fn code_of(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

fn trouble(error: &Error) -> Trouble {
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => Trouble::Refused("it does not take the user name and password of the connection string".into()),
        ErrorKind::Command(command) if code::PASSING.contains(&command.code) => Trouble::Away(short(&command.message)),
        ErrorKind::Command(command) => Trouble::Refused(short(&format!("{} ({})", command.message, command.code_name))),
        ErrorKind::InvalidArgument { message, .. } => Trouble::Refused(short(message)),
        ErrorKind::ServerSelection { message, .. } => Trouble::Away(short(&format!("no server of it is there: {}", cause(message)))),
        kind => Trouble::Away(short(&kind.to_string())),
    }
}

/// What the driver says of servers that it does not find is a dump of all that it knows of each; what went wrong with the last one is in it.
fn cause(message: &str) -> &str {
    let Some((_, cause)) = message.rsplit_once("Error: Kind: ") else { return message };
    cause.split(", labels").next().unwrap_or(cause)
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn errors(answer: &Doc) -> impl Iterator<Item = &Doc> {
    answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document)
}

fn first_error(answer: &Doc) -> Option<&Doc> {
    errors(answer).next()
}

fn error_code(error: &Doc) -> i32 {
    error.get("code").and_then(|code| code.as_i32().or(code.as_i64().and_then(|code| i32::try_from(code).ok()))).unwrap_or(0)
}

fn is_duplicate(error: &Doc) -> bool {
    error_code(error) == code::DUPLICATE_KEY
}

/// Of the index that every collection has. An older server says so in words alone.
fn is_of_id(error: &Doc) -> bool {
    match error.get_document("keyPattern") {
        Ok(keys) => keys.len() == 1 && keys.contains_key("_id"),
        Err(_) => [" _id_ ", "._id "].iter().any(|index| format!("{} ", message(error)).contains(index)),
    }
}

fn message(error: &Doc) -> String {
    short(error.get_str("errmsg").unwrap_or("no reason given"))
}

/// What one statement met that all others would meet too.
fn of_write(error: &Doc) -> Result<(), Trouble> {
    let code = error_code(error);
    if code::PASSING.contains(&code) {
        Err(Trouble::Away(message(error)))
    } else if code::OF_ALL.contains(&code) {
        Err(Trouble::Refused(message(error)))
    } else {
        Ok(())
    }
}

fn count(answer: &Doc) -> i64 {
    answer.get("n").and_then(|n| n.as_i64().or(n.as_i32().map(Into::into))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_servers_that_are_not_found_the_reason_is_told() {
        let dump = "Server selection timeout: No available servers. Topology: { Type: Single, Servers: [ { Address: 127.0.0.1:1, Type: Unknown, \
                    Error: Kind: I/O error: Connection refused (os error 111), labels: {\"B\", \"A\"}, source: None, server response: None } ] }";
        assert_eq!(cause(dump), "I/O error: Connection refused (os error 111)");
        assert_eq!(cause("something else"), "something else");
    }

    #[test]
    fn an_index_that_is_otherwise_is_told_and_one_that_is_there_is_not_made() {
        let wanted = Index { collection: "x", fields: &[("a.b", false), ("c", true)], expire_seconds: None };
        assert_eq!((name(&wanted), keys(&wanted)), ("a.b_1_c_-1".to_owned(), doc! { "a.b": 1, "c": -1 }));
        let there = |key: Doc| doc! { "v": 2, "name": "whatever", "key": key };
        assert!(same_keys(&there(doc! { "a.b": 1.0, "c": -1_i64 }), &keys(&wanted)), "numbers come in any kind");
        for other in [doc! { "c": -1, "a.b": 1 }, doc! { "a.b": 1 }, doc! { "a.b": -1, "c": -1 }] {
            assert!(!same_keys(&there(other.clone()), &keys(&wanted)), "{other}");
        }
        assert_eq!(otherwise_than(&there(keys(&wanted)), &wanted), None);
        let mut unique = there(keys(&wanted));
        unique.insert("unique", true);
        assert_eq!(otherwise_than(&unique, &wanted), Some("is unique".into()));
        let expires = Index { expire_seconds: Some(60), ..wanted };
        assert_eq!(otherwise_than(&there(keys(&wanted)), &expires), Some("deletes documents never, not after 60 s".into()));
        let mut as_wanted = there(keys(&wanted));
        as_wanted.insert("expireAfterSeconds", 60.0);
        assert_eq!(otherwise_than(&as_wanted, &expires), None);
    }

    #[test]
    fn a_document_that_has_a_newer_one_is_told_from_one_that_another_index_refuses() {
        let said = |text: &str| doc! { "index": 0, "code": 11000, "errmsg": text };
        assert!(is_of_id(&said("E11000 duplicate key error collection: a.b index: _id_ dup key: { _id: 1 }")));
        assert!(is_of_id(&said("UNIQUE constraint failed: nodes._id")));
        assert!(!is_of_id(&said("E11000 duplicate key error collection: a.b index: node_id_1 dup key: { node_id: 1 }")));
        let mut named = said("whatever");
        named.insert("keyPattern", doc! { "_id": 1 });
        assert!(is_of_id(&named));
        named.insert("keyPattern", doc! { "node_id": 1 });
        assert!(!is_of_id(&named));
        assert!(of_write(&doc! { "code": 121 }).is_ok(), "of this document alone");
        assert_eq!(of_write(&doc! { "code": 10107, "errmsg": "not primary" }), Err(Trouble::Away("not primary".into())));
        assert_eq!(of_write(&doc! { "code": 14031_i64, "errmsg": "full" }), Err(Trouble::Refused("full".into())));
    }
}
