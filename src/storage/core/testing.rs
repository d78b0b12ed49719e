//! A store in a temporary folder with its default pool, and the things that tests of verbs ask for again and again.

use std::sync::Arc;

use super::{pools, references};
use crate::crypto::{Entropy, PublicKey};
use crate::domain::audit::Act;
use crate::domain::enrolment::Fingerprint;
use crate::domain::ids::{NodeId, PoolId};
use crate::domain::money::{Currency, Units};
use crate::domain::node::{CpuInfo, HardwareInfo, MemoryInfo, NetworkInfo, NodeConfiguration, NodeType, StorageInfo};
use crate::domain::pool::{NewPool, Pricing};
use crate::domain::refusal::Refusal;
use crate::domain::registration::NewNode;
use crate::domain::time::{BootMs, Now, Timestamp};
use crate::storage::directory::Directory;
use crate::storage::fault::{TxError, WriteError};
use crate::storage::table::{Read, WriteTx};
use crate::storage::{Store, StoreOptions, device};

pub const T: i64 = 1_790_000_010;

pub fn at(seconds: i64) -> Now {
    Now { wall: Timestamp::from_seconds(T + seconds), boot: BootMs(seconds * 1000), trusted: true }
}

pub fn act() -> Act {
    Act::system(at(0))
}

pub struct Fixture {
    pub store: Store,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            dir: dir.path().join("data"),
            core_cache_bytes: 1 << 20,
            hot_cache_bytes: 1 << 20,
            boot_id: "boot".into(),
            device: device::real(),
        };
        let store = Store::open(&options, Entropy::new(), at(0)).unwrap();
        let fixture = Fixture { store, _dir: dir };
        fixture.write(|tx, _| pools::ensure_default(tx, &act(), price(), 100)).unwrap();
        fixture
    }

    /// Runs a verb and requires that the directory in memory is what a restart would load, and that tables go on naming rows that are there.
    pub fn write<R: Send + 'static>(
        &self,
        verb: impl Fn(&mut WriteTx<'_>, &Arc<Directory>) -> Result<R, TxError> + Send + 'static,
    ) -> Result<R, Refusal> {
        let directory = Arc::clone(&self.store.directory);
        let answer = self.store.core.write_now(move |tx| verb(tx, &directory));
        let loaded = Directory::load(&self.store.read().unwrap()).unwrap();
        assert_eq!(self.store.directory.all(), loaded.all());
        let read = self.store.read().unwrap();
        for found in [references::verify_fleet(&read), references::verify_people(&read), references::verify_alerts(&read)] {
            found.unwrap().unwrap();
        }
        answer.map_err(|e| match e {
            WriteError::Refused(refusal) => refusal,
            other => panic!("{other}"),
        })
    }

    /// Number of audit entries: a refused write adds none.
    pub fn audited(&self) -> u64 {
        self.store.read().unwrap().count(super::tables::AUDIT).unwrap()
    }
}

pub fn price() -> Pricing {
    Pricing { cost_per_hour: Units(50_000), reward_per_hour: Units(50_000), currency: Currency::Usdt }
}

pub fn pool_id(n: u32) -> PoolId {
    PoolId::parse(&format!("pool_{n:06}")).unwrap()
}

pub fn node_id(n: u32) -> NodeId {
    NodeId::parse(&format!("node_{n:06}")).unwrap()
}

pub fn new_pool(name: &str, max_nodes: u32) -> NewPool {
    NewPool {
        name: name.into(),
        description: String::new(),
        max_nodes,
        resource_limits: None,
        auto_scaling: false,
        scaling_policy: None,
        pricing: price(),
        outputs_expected: false,
    }
}

pub fn new_node(name: &str, pool: Option<PoolId>) -> NewNode {
    NewNode {
        name: name.into(),
        node_type: NodeType::Worker,
        hardware: None,
        location: None,
        pool,
        configuration: NodeConfiguration::default(),
    }
}

pub fn hardware() -> HardwareInfo {
    HardwareInfo {
        cpu: CpuInfo { cores: 4, ..CpuInfo::default() },
        memory: MemoryInfo { total_bytes: 4_000_000_000, kind: None },
        storage: StorageInfo { total_bytes: 32_000_000_000, ..StorageInfo::default() },
        gpu: None,
        network: vec![NetworkInfo { interface: "eth0".into(), ..NetworkInfo::default() }],
    }
}

/// Machine `n`; every part differs from that of another.
pub fn fingerprint(n: u32) -> Fingerprint {
    let part = |name: &str| Some(Fingerprint::part("manager", name, &n.to_string()));
    Fingerprint {
        machine_id: part("machine_id"),
        board_serial: part("board_serial"),
        cpu: part("cpu"),
        memory: part("memory"),
        disk_id: part("disk_id"),
        macs: part("macs"),
    }
}

pub fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}
