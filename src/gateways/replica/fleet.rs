//! Reads what all managers wrote. Nothing here writes, and nothing that somebody else wrote makes an answer fail: what is not as it should be is not known.

use mongodb::bson::{Bson, Document as Doc, doc};

use super::mongo::{MANAGERS, Mongo};
use super::values::{fair_text, moment, number};
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::fleet::{Count, LONGEST_TEXT, ManagerSeen, NodeFilter, NodeSeen, Part, Slice, Summary, Whose};
use crate::domain::time::Timestamp;

const NODES: &str = "nodes";
/// What the server may take for one question, in ms: who asked has gone by then.
const MAX_TIME_MS: i64 = 5_000;
/// Values that documents are counted by, at most.
const MAX_GROUPS: usize = 1_000;
/// The last moment that has four digits of a year.
const LAST_MOMENT: Timestamp = Timestamp(253_402_300_799_999);

impl Mongo {
    /// Managers by id.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses; of `fleet_nodes` and `fleet_summary` too.
    pub async fn fleet_managers(&self, region: Option<&str>, slice: &Slice) -> Result<Part<ManagerSeen>, Trouble> {
        // The round as a whole: not every server gives a field within a field.
        let fields = doc! { "region": 1, "version": 1, "seen_at": 1, "released": 1, "round": 1 };
        let (found, next) = self.slice(MANAGERS, named(&[("region", region)]), fields, slice).await?;
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        if ids.is_empty() {
            return Ok(Part { rows: Vec::new(), next });
        }
        let nodes = self.counts(NODES, alive(doc! { "manager_id": { "$in": &ids } }), "manager_id").await?;
        let of = |id: &str| nodes.iter().find(|of| of.name.as_deref() == Some(id)).map_or(0, |of| of.count);
        let rows = found.iter().map(|(id, found)| manager(id, found, of(id))).collect();
        Ok(Part { rows, next })
    }

    /// Nodes by the ids of their documents, so one manager's after another's. Those that were deleted are none.
    pub async fn fleet_nodes(&self, filter: &NodeFilter, slice: &Slice) -> Result<Part<NodeSeen>, Trouble> {
        let words = [("status", &filter.status), ("node_type", &filter.node_type), ("pool_id", &filter.pool)];
        let mut wanted = alive(of(&filter.whose));
        wanted.extend(named(&words.map(|(field, word)| (field, word.as_deref()))));
        let fields = ["manager_id", "region", "node_id", "name", "node_type", "pool_id", "status"];
        let seen = ["detailed_status", "poot_score", "last_heartbeat", "seen_at"];
        let fields = fields.into_iter().chain(seen).map(|field| (field.to_owned(), Bson::from(1))).collect();
        let (found, next) = self.slice(NODES, wanted, fields, slice).await?;
        Ok(Part { rows: found.iter().map(|(id, found)| node(id, found)).collect(), next })
    }

    /// How many there are. Counted one after the other, while managers go on writing.
    pub async fn fleet_summary(&self, whose: &Whose) -> Result<Summary, Trouble> {
        let managers = named(&[("_id", whose.manager.as_deref()), ("region", whose.region.as_deref())]);
        let nodes = || alive(of(whose));
        Ok(Summary {
            managers_by_region: self.counts(MANAGERS, managers, "region").await?,
            nodes_by_region: self.counts(NODES, nodes(), "region").await?,
            nodes_by_status: self.counts(NODES, nodes(), "status").await?,
        })
    }

    /// Documents with their ids, and after which one it goes on. One whose id cannot be asked for is left out.
    async fn slice(
        &self,
        collection: &str,
        mut filter: Doc,
        fields: Doc,
        slice: &Slice,
    ) -> Result<(Vec<(String, Doc)>, Option<String>), Trouble> {
        // Texts alone: ids of other types, which no manager writes, do not match.
        filter.insert("_id", doc! { "$gt": slice.after.as_deref().unwrap_or_default() });
        let limit = i64::try_from(slice.limit).unwrap_or(i64::MAX);
        let mut found = self.find_within(collection, filter, fields, limit.saturating_add(1), Some(MAX_TIME_MS)).await?;
        let is_more = found.len() > slice.limit;
        found.truncate(slice.limit);
        let last = found.last().and_then(|found| found.get_str("_id").ok().map(str::to_owned));
        let named = found.into_iter().filter_map(|found| Some((found.get_str("_id").ok()?.to_owned(), found)));
        let rows: Vec<(String, Doc)> = named.filter(|(id, _)| (1..=LONGEST_TEXT).contains(&id.len())).collect();
        let next = last.filter(|_| is_more);
        Ok((rows, next))
    }

    /// How many documents have each value of a field. By one field at a time: servers of this protocol that are no MongoDB take a key of several for a text.
    async fn counts(&self, collection: &str, filter: Doc, field: &str) -> Result<Vec<Count>, Trouble> {
        let most = i64::try_from(MAX_GROUPS + 1).unwrap_or(i64::MAX);
        let command = doc! {
            "aggregate": collection,
            "pipeline": [
                { "$match": filter },
                { "$group": { "_id": format!("${field}"), "count": { "$sum": 1 } } },
                { "$limit": most },
            ],
            "cursor": { "batchSize": most },
            "maxTimeMS": MAX_TIME_MS,
        };
        let groups = self.first_batch(command).await?;
        if groups.len() > MAX_GROUPS {
            return Err(Trouble::Refused(format!("its {collection} have more than {MAX_GROUPS} values of {field}")));
        }
        Ok(counted(&groups))
    }
}

/// Values that say nothing are one.
fn counted(groups: &[Doc]) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for group in groups {
        let (name, count) = (fair_text(group, "_id", LONGEST_TEXT), number(group, "count").unwrap_or(0));
        match counts.iter_mut().find(|there| there.name == name) {
            Some(there) => there.count = there.count.saturating_add(count),
            None => counts.push(Count { name, count }),
        }
    }
    counts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    counts
}

fn of(whose: &Whose) -> Doc {
    named(&[("manager_id", whose.manager.as_deref()), ("region", whose.region.as_deref())])
}

/// Those that are given, as texts: nothing of them is read as an operator.
fn named(of: &[(&str, Option<&str>)]) -> Doc {
    of.iter().filter_map(|(field, text)| Some(((*field).to_owned(), Bson::String((*text)?.to_owned())))).collect()
}

/// What is no tombstone.
fn alive(mut filter: Doc) -> Doc {
    filter.insert("deleted", doc! { "$ne": true });
    filter
}

fn manager(id: &str, found: &Doc, nodes: u64) -> ManagerSeen {
    let text = |name| fair_text(found, name, LONGEST_TEXT);
    ManagerSeen {
        id: id.to_owned(),
        region: text("region"),
        version: text("version"),
        seen_at: fair_moment(found, "seen_at"),
        has_ended: found.get_bool("released").ok(),
        whole_at: found.get_document("round").ok().and_then(|round| fair_moment(round, "at")),
        nodes,
    }
}

fn node(id: &str, found: &Doc) -> NodeSeen {
    let text = |name| fair_text(found, name, LONGEST_TEXT);
    NodeSeen {
        id: id.to_owned(),
        manager: text("manager_id"),
        region: text("region"),
        node_id: text("node_id"),
        name: text("name"),
        node_type: text("node_type"),
        pool: text("pool_id"),
        status: text("status"),
        detailed_status: text("detailed_status"),
        score: found
            .get_f64("poot_score")
            .ok()
            .or_else(|| number::<u8>(found, "poot_score").map(f64::from))
            .filter(|score| (0.0..=100.0).contains(score)),
        last_heartbeat: fair_moment(found, "last_heartbeat"),
        seen_at: fair_moment(found, "seen_at"),
    }
}

/// None of a moment that cannot be written down.
fn fair_moment(of: &Doc, name: &str) -> Option<Timestamp> {
    moment(of, name).filter(|at| (Timestamp(0)..=LAST_MOMENT).contains(at))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::DateTime;

    use super::*;

    #[test]
    fn what_others_wrote_oddly_is_not_known() {
        let at = DateTime::from_millis(1_790_000_000_000);
        let good =
            doc! { "node_id": "node_1", "name": "attic", "status": "active", "poot_score": 93.5, "seen_at": at, "manager_id": "manager_a" };
        let seen = node("x", &good);
        assert_eq!((seen.name.as_deref(), seen.score, seen.seen_at), (Some("attic"), Some(93.5), Some(Timestamp(1_790_000_000_000))));
        assert_eq!((seen.region, seen.pool, seen.last_heartbeat), (None, None, None));
        let odd = doc! { "node_id": 7, "name": ["a"], "status": "", "poot_score": f64::NAN, "seen_at": DateTime::MAX, "last_heartbeat": "now", "region": Bson::Null };
        let unknown = NodeSeen {
            id: "x".into(),
            manager: None,
            region: None,
            node_id: None,
            name: None,
            node_type: None,
            pool: None,
            status: None,
            detailed_status: None,
            score: None,
            last_heartbeat: None,
            seen_at: None,
        };
        assert_eq!(node("x", &odd), unknown);
        let whole = doc! { "poot_score": 100, "name": "é".repeat(300) };
        let seen = node("x", &whole);
        assert_eq!(
            (seen.score, seen.name.map(|name| name.len())),
            (Some(100.0), Some(LONGEST_TEXT)),
            "whole numbers are scores, long texts are cut"
        );

        let odd = manager("m", &doc! { "round": "x", "released": 1, "seen_at": 5 }, 3);
        assert_eq!((odd.whole_at, odd.has_ended, odd.seen_at, odd.nodes), (None, None, None, 3));
        let good = manager("m", &doc! { "round": { "at": at }, "released": true, "version": "0.1.0" }, 0);
        assert_eq!(
            (good.whole_at, good.has_ended, good.version.as_deref()),
            (Some(Timestamp(1_790_000_000_000)), Some(true), Some("0.1.0"))
        );
    }

    #[test]
    fn values_that_say_nothing_are_counted_together() {
        let groups = [
            doc! { "_id": "b", "count": 2 },
            doc! { "_id": Bson::Null, "count": 1 },
            doc! { "_id": "", "count": 4_i64 },
            doc! { "_id": { "$x": 1 }, "count": 1 },
            doc! { "_id": "a", "count": 2 },
            doc! { "_id": "c", "count": -1 },
        ];
        let of = |name: Option<&str>, count| Count { name: name.map(str::to_owned), count };
        assert_eq!(counted(&groups), [of(None, 6), of(Some("a"), 2), of(Some("b"), 2), of(Some("c"), 0)]);
    }
}
