//! What a caller may do, in words of the contract: each route names the scopes it wants, each kind of caller has some.

use super::node::NodeType;
use super::user::Role;

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal from $role:ident),+ $(,)?) => {
        /// One thing that a caller may be allowed. Text form: `noun:verb`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $($(#[$doc])* $name),+
        }

        impl Scope {
            pub const ALL: &'static [Scope] = &[$(Scope::$name),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Scope::$name => $text),+
                }
            }

            /// People of this role and of those above it have the scope.
            pub fn lowest_role(self) -> Role {
                match self {
                    $(Scope::$name => Role::$role),+
                }
            }
        }
    };
}

scopes! {
    NodeRead = "node:read" from Viewer,
    NodeWrite = "node:write" from Operator,
    NodeStart = "node:start" from Operator,
    NodeStop = "node:stop" from Operator,
    NodeRestart = "node:restart" from Operator,
    /// Take a node out of service, and decide about appeals.
    NodeSuspend = "node:suspend" from Admin,
    PoolRead = "pool:read" from Viewer,
    PoolWrite = "pool:write" from Operator,
    PoolAssign = "pool:assign" from Operator,
    /// What an hour costs and earns: it is everybody's pay.
    PoolPrice = "pool:price" from Admin,
    ResourceRead = "resource:read" from Viewer,
    ResourceMetrics = "resource:metrics" from Viewer,
    /// Thresholds and allocations.
    ResourceWrite = "resource:write" from Operator,
    PootRead = "poot:read" from Viewer,
    PootValidate = "poot:validate" from Operator,
    PootBatch = "poot:batch" from Operator,
    /// Close an epoch early.
    PootCalculate = "poot:calculate" from Admin,
    PayoutRead = "payout:read" from Viewer,
    PayoutProcess = "payout:process" from Admin,
    PayoutBatch = "payout:batch" from Admin,
    /// See and set where a node is paid.
    PayoutAddress = "payout:address" from Operator,
    /// Stop payouts: freeze, stop, lock the wallet.
    MoneyFreeze = "money:freeze" from Admin,
    /// Let them go on, and decide about them.
    MoneyWrite = "money:write" from Admin,
    /// The books of the whole manager.
    LedgerRead = "ledger:read" from Admin,
    AlertRead = "alert:read" from Viewer,
    AlertWrite = "alert:write" from Operator,
    AuditRead = "audit:read" from Admin,
    AuditExport = "audit:export" from Admin,
    UserRead = "user:read" from Admin,
    UserWrite = "user:write" from Admin,
    TokenRead = "token:read" from Admin,
    TokenWrite = "token:write" from Admin,
    EnrolmentRead = "enrolment:read" from Operator,
    EnrolmentWrite = "enrolment:write" from Operator,
    /// Let in a machine: one that enrolled with a token of many uses, or whose hardware changed.
    EnrolmentApprove = "enrolment:approve" from Admin,
    SettingsRead = "settings:read" from Admin,
    SettingsWrite = "settings:write" from Admin,
    ClockRead = "clock:read" from Viewer,
    /// Confirm the clock.
    ClockWrite = "clock:write" from Admin,
    /// Take the clock's time although the store was ahead of it.
    ClockAccept = "clock:accept" from SuperAdmin,
    StorageRead = "storage:read" from Viewer,
    StorageCheck = "storage:check" from Admin,
    StorageBackup = "storage:backup" from Admin,
    /// Export and erase what is kept of a person.
    PrivacyWrite = "privacy:write" from SuperAdmin,
    RecoveryWrite = "recovery:write" from SuperAdmin,
    FleetRead = "fleet:read" from Viewer,
    EventRead = "event:read" from Viewer,
    /// One's own account: sessions, password, second factor.
    SessionSelf = "session:self" from Viewer,
}

impl Scope {
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }

    /// Programs are never given these, whatever their role: they approve nothing, have no account, and make nobody who could.
    pub fn for_people_only(self) -> bool {
        matches!(
            self,
            Scope::SessionSelf
                | Scope::UserWrite
                | Scope::TokenWrite
                | Scope::EnrolmentApprove
                | Scope::PoolPrice
                | Scope::ClockAccept
                | Scope::SettingsWrite
                | Scope::MoneyWrite
                | Scope::PrivacyWrite
                | Scope::RecoveryWrite
        )
    }
}

impl Role {
    pub fn may(self, scope: Scope) -> bool {
        scope.lowest_role() <= self
    }

    /// In the order of their declaration.
    pub fn scopes(self) -> Vec<Scope> {
        Scope::ALL.iter().copied().filter(|scope| self.may(*scope)).collect()
    }
}

impl NodeType {
    /// What a node may do, for itself only.
    pub fn scopes(self) -> &'static [Scope] {
        match self {
            NodeType::Validator => &[Scope::NodeRead, Scope::PootRead, Scope::PootValidate, Scope::PootBatch],
            NodeType::Worker | NodeType::Storage | NodeType::Compute => {
                &[Scope::NodeRead, Scope::ResourceRead, Scope::PootRead, Scope::PootValidate]
            }
        }
    }
}

impl Scope {
    /// Some kind of node has it.
    pub fn is_of_nodes(self) -> bool {
        [NodeType::Worker, NodeType::Validator].iter().any(|kind| kind.scopes().contains(&self))
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
        let text = String::deserialize(deserializer)?;
        Scope::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no scope")))
    }
}

impl utoipa::PartialSchema for Scope {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let names = Scope::ALL.iter().map(|scope| scope.as_str());
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("What a caller may do: `noun:verb`."))
            .enum_values(Some(names))
            .into()
    }
}

impl utoipa::ToSchema for Scope {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_what_the_ones_before_it_have() {
        for pair in Role::ALL.windows(2) {
            let (low, high) = (pair[0].scopes(), pair[1].scopes());
            assert!(low.iter().all(|scope| high.contains(scope)) && low.len() < high.len(), "{pair:?}");
        }
        assert_eq!(Role::SuperAdmin.scopes(), Scope::ALL);
        assert!(
            Role::Viewer.scopes().iter().all(|s| s.as_str().ends_with(":read") || [Scope::ResourceMetrics, Scope::SessionSelf].contains(s))
        );
    }

    #[test]
    fn names_are_read_as_they_are_written_and_are_all_different() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(*scope));
            assert_eq!(serde_json::from_str::<Scope>(&serde_json::to_string(scope).unwrap()).unwrap(), *scope);
            let (noun, verb) = scope.as_str().split_once(':').unwrap();
            assert!(noun.bytes().chain(verb.bytes()).all(|b| b.is_ascii_lowercase()), "{scope}");
        }
        assert_eq!(Scope::parse("node:everything"), None);
        assert!(serde_json::from_str::<Scope>("\"NodeRead\"").is_err());
    }

    #[test]
    fn nodes_have_the_scopes_of_the_contract_and_their_own_scores_and_change_nothing() {
        let of = |kind: NodeType| kind.scopes().iter().map(|scope| scope.as_str()).collect::<Vec<_>>();
        assert_eq!(of(NodeType::Worker), ["node:read", "resource:read", "poot:read", "poot:validate"]);
        assert_eq!(of(NodeType::Validator), ["node:read", "poot:read", "poot:validate", "poot:batch"]);
        assert_eq!((of(NodeType::Storage), of(NodeType::Compute)), (of(NodeType::Worker), of(NodeType::Worker)));
        assert!(Scope::ALL.iter().all(|scope| !(scope.is_of_nodes() && scope.for_people_only())));
    }
}
