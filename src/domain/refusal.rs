//! Every refusal of the domain, by name. The api layer turns each into a status and a code, and nothing else does.

use std::fmt;

use serde::Serialize;

/// One field that broke a rule: where (`hardware_info.cpu.cores`) and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// Collects field errors, so that one answer lists them all.
#[derive(Debug, Default)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// Adds the error unless `ok`.
    pub fn require(&mut self, ok: bool, field: &str, message: impl Into<String>) {
        if !ok {
            self.add(field, message);
        }
    }

    pub fn finish(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Invalid(self.0)) }
    }

    /// The same for fields that are well-formed and against a rule with a name.
    pub fn finish_as(self, rule: &'static str) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Broken(rule, self.0)) }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $message:literal),+ $(,)?) => {
        /// A refused request: nothing was changed.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Refusal {
            /// Fields of the request broke rules; all of them are listed.
            Invalid(Vec<FieldError>),
            /// Well-formed, and against a rule that names its reason and its fields.
            Rule(&'static str, String),
            /// The same, with every field that is against it.
            Broken(&'static str, Vec<FieldError>),
            $($(#[$doc])* $name),+
        }

        impl Refusal {
            /// Stable snake_case-able name, used in the audit log and in error details.
            pub fn name(&self) -> &'static str {
                match self {
                    Refusal::Invalid(_) => "Invalid",
                    Refusal::Rule(name, _) | Refusal::Broken(name, _) => name,
                    $(Refusal::$name => stringify!($name)),+
                }
            }

            pub const ALL_NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
        }

        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Refusal::Invalid(fields) | Refusal::Broken(_, fields) => {
                        let is_rule = matches!(self, Refusal::Broken(..));
                        f.write_str(if is_rule { "the request cannot be met:" } else { "the request has invalid fields:" })?;
                        for (i, e) in fields.iter().enumerate() {
                            write!(f, "{} {} {}", if i == 0 { "" } else { ";" }, e.field, e.message)?;
                        }
                        Ok(())
                    }
                    Refusal::Rule(_, message) => f.write_str(message),
                    $(Refusal::$name => f.write_str($message)),+
                }
            }
        }
    };
}

refusals! {
    NodeNotFound = "no node has this id",
    NodeExists = "a node with this id or key exists",
    NodeNameTaken = "another node of the pool has this name",
    NodeLeaving = "the node leaves with its final payout; cancel that first",
    NodeSuspended = "the node is suspended; an admin has to lift that first",
    NotSuspended = "the node is not suspended",
    AppealOpen = "an appeal against this suspension waits for a decision",
    AppealNotFound = "no appeal against a suspension of this node waits for a decision",
    OwnSuspension = "who suspended the node does not uphold that; another admin has to",
    FinalPayoutNotFound = "no final payout of this node was asked for",
    PayoutUnresolved = "a payout of the node has not ended; wait for it",
    NodeHasMoney = "the node has a balance, accruals or a live payout",
    MaintenanceNotFound = "the node has no maintenance with this number",
    MaintenanceOverlaps = "the node has other maintenance in that time",
    MaintenanceOver = "this maintenance is over, or was called off",
    PoolNotFound = "no pool has this id",
    PoolExists = "a pool with this id or name exists",
    PoolNotEmpty = "the pool has nodes",
    PoolFull = "the pool is at its maximum of nodes",
    PoolProtected = "the default pool cannot be deleted",
    AlreadyMember = "the node is in this pool",
    NotAMember = "the node is not in this pool",
    FleetFull = "the manager is at its maximum of nodes",

    TokenUnknown = "the enrolment token is not known",
    TokenWrongSecret = "the enrolment token's secret is wrong",
    TokenExpired = "the enrolment token has expired",
    TokenUsed = "the enrolment token has been used",
    TokenRevoked = "the enrolment token was revoked",
    TokenForOtherManager = "the enrolment token is for another manager",
    ApprovalPending = "an admin has to approve this machine; ask again",
    EnrolmentRejected = "an admin has rejected this machine",
    EnrolmentRequestNotFound = "no machine waits under this id",
    EnrolmentRequestDecided = "this machine was decided about already",
    SignatureForged = "the signature does not fit",
    KeyOnOtherHardware = "this key was enrolled on other hardware",
    NodeClaimed = "the node has been claimed by another key",
    ChallengeUnknown = "the challenge is not known or has been used",
    ChallengeExpired = "the challenge has expired",
    ReportReplayed = "this report was accepted before",
    ProtocolTooNew = "the agent speaks a newer protocol; update the manager",

    SetupDone = "setup has been done",
    SetupCodeWrong = "the setup code is wrong",
    ApiTokenNotFound = "no API token has this id",
    NotSignedIn = "sign in first",
    SessionUnknown = "the session or token is not known or has ended; sign in again",
    SessionNotFound = "you have no session with this id",
    TotpNeeded = "the account has a second factor; send a code of the authenticator app, or a recovery code, as totp",
    TotpWrong = "the code is wrong, or was used before",
    TotpEnabled = "the second factor is enabled already; disable it first",
    TotpNotBegun = "no second factor was begun; begin one first",
    TotpNotEnabled = "the account has no second factor",
    WrongCredentials = "the user name or password is wrong",
    Throttled = "too many attempts; wait",
    NotAllowed = "your role does not allow this",
    PriceNotAllowed = "what an hour costs and earns is set by an admin, never by a program (scope pool:price); the rest of the pool may be changed without it",
    NotYours = "a node may act for itself only",
    WrongOrigin = "the request comes from a page of another origin",
    HostNotAllowed = "this manager does not answer to that host name; name it in server.allowed_hosts if it should",
    PlainHttpRefused = "this manager refuses plain HTTP here; use https",
    UserNotFound = "no user has this id",
    UserExists = "a user with this name exists",
    LastSuperAdmin = "the last super_admin cannot be removed or demoted",
    FreshFactorNeeded = "enter your password again for this",
    PersonNeeded = "only a person's own session may do this, lately confirmed with all its factors; sign in instead of using a token",

    EpochNotFound = "no closed epoch begins with this slot",
    ProofNotThere = "there is no proof: the epoch has none of this node, or was closed before heads were signed",
    ProofNotKept = "the evidence of this epoch is not kept any more, or was changed since: the head stays",
    DayNotFound = "this is no day; write it like 2026-09-21",
    DayKeySealed = "the key of a day is told from 25 hours after its end",
    EpochTooYoung = "no slot of the running epoch in which the manager listened is closed yet; a slot closes 90 seconds after its end",
    EpochsBehind = "epochs that are over are still being closed; ask again in a moment",
    AddressNotFound = "the node has no payout address",
    PayoutMoved = "the payout took another step meanwhile",
    PayoutNotFound = "no payout has this id",
    TransferNotFound = "no transfer out of the wallet has this id",
    TransactionKnown = "this transaction is another payout's",
    CurrencyNotPayable = "this currency cannot be paid",
    OutputNotKept = "this output is not kept: nothing was to be kept when it came, newer ones took its place, or no output of the node has this id",
    ArchiveNotFound = "no archive has a file of this name",
    SettingNotFound = "there is no such setting",
    AlertNotFound = "no alert has this id",
    AlertResolved = "the alert is over",
    AllocationNotFound = "the node has no allocation with this id",
    ClockUntrusted = "the clock is not trusted yet",
    IdempotencyKeyReused = "this idempotency key was used for another request",
    IdempotencyInProgress = "the request with this idempotency key is not done yet",
    IdempotencyAnswerNotKept = "the request with this idempotency key was done before",
    StorageCheckRunning = "the storage is being checked already",
    CompactionRunning = "a compaction of this file goes on already",
    BackupRunning = "a backup is being made already",
    ReplicationNotConfigured = "no cluster is configured: set mongodb.uri, or MONGODB_URI, and start the manager again",
    FleetUnreachable = "the cluster does not answer, or not in time: what is there is not known now",
    FleetBusy = "others are asking the cluster: try again in a moment",
    AlreadyErased = "this was erased before",
    AuditCheckRunning = "the audit log is being checked already",
    BatchNotFound = "no batch of payouts has this id",
    BatchExists = "a batch with this id and another content exists",
    BatchOver = "the batch is over",
    ScheduleNotFound = "no schedule has this id",
    ScheduleMoved = "somebody else changed the schedule meanwhile",
    DeliveryNotFound = "the outbox has no message with this number",
    DeliveryAlive = "this message is still being delivered; only one that was given up can be taken out",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_lists_every_field() {
        let mut errors = FieldErrors::default();
        errors.require(true, "fine", "");
        errors.require(false, "name", "must have 3 to 100 characters");
        errors.add("cpu.cores", "must be 1 to 128");
        let refusal = errors.finish().unwrap_err();
        assert_eq!(refusal.to_string(), "the request has invalid fields: name must have 3 to 100 characters; cpu.cores must be 1 to 128");
        assert_eq!(FieldErrors::default().finish(), Ok(()));
    }
}
