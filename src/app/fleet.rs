//! The cluster, as the api reads the fleet from it.

use std::sync::Arc;

use crate::api::fleet::FleetReader;
use crate::api::wallet::Pending;
use crate::domain::replica::cluster::Trouble;
use crate::domain::replica::fleet::{ManagerSeen, NodeFilter, NodeSeen, Part, Slice, Summary, Whose};
use crate::gateways::replica::Mongo;

pub struct Fleet(pub Arc<Mongo>);

impl FleetReader for Fleet {
    fn managers<'a>(&'a self, region: Option<&'a str>, slice: &'a Slice) -> Pending<'a, Result<Part<ManagerSeen>, Trouble>> {
        Box::pin(self.0.fleet_managers(region, slice))
    }

    fn nodes<'a>(&'a self, filter: &'a NodeFilter, slice: &'a Slice) -> Pending<'a, Result<Part<NodeSeen>, Trouble>> {
        Box::pin(self.0.fleet_nodes(filter, slice))
    }

    fn summary<'a>(&'a self, whose: &'a Whose) -> Pending<'a, Result<Summary, Trouble>> {
        Box::pin(self.0.fleet_summary(whose))
    }
}
