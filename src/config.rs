//! The configuration: defaults, then a TOML file, then the environment, then flags, all checked at once into one `Config`.
//!
//! The list of settings in `settings` is the single source: types, limits, environment names and documentation come from
//! it. This module must not know what the settings are used for.

mod agent;
mod print;
mod rules;
mod settings;
mod sources;
mod stored;

use std::fmt;
use std::net::SocketAddr;

use rust_decimal::Decimal;

use crate::domain::money::{Amount, Units};
use crate::domain::pool::Pricing;
use crate::domain::webhook::{Target, check_public};

pub use agent::AgentFile;
pub use print::{Listed, markdown_table};
pub use rules::{AmountAs, Gateway, LogFormat, LogTargets, PayoutMode, Secret, TlsMode, TronNetwork, parse_log_targets};
pub use settings::{
    Access, ApiGateway, Backup, Blockchain, Clock, Config, DefaultPool, Limits, Log, Mongodb, Payout, Pools, Poot, Server, Storage, Tron,
    TronPayment,
};
pub use sources::{Origin, Sources};
pub use stored::{Effect, effect};

use rules::Key;
use sources::Values;
use stored::Base;

/// `data/default.toml`, the lowest layer; it has every setting.
const DEFAULTS: &str = include_str!("../data/default.toml");

/// A configuration that was checked, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// What was accepted and has no effect; one log line each.
    pub notes: Vec<String>,
    values: Values,
}

/// One thing that is wrong: the setting, its value, where that came from, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub key: String,
    /// Masked when the setting is a secret.
    pub value: Option<String>,
    pub origin: Option<Origin>,
    pub problem: String,
}

/// Everything that is wrong, so that one start shows it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value:?}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} {}:", if count == 1 { "error" } else { "errors" })?;
        for error in &self.0 {
            writeln!(f, "  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads and checks all layers.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let keys = settings::keys();
        let mut errors = ConfigErrors::default();
        let (values, notes) = Values::collect(sources, &keys, &mut errors);
        match Config::checked(&keys, values.clone(), &mut errors) {
            Some(config) => Ok(Loaded { config, notes, values }),
            None => Err(errors),
        }
    }

    /// None when anything is wrong, here or in `errors` before.
    fn checked(keys: &[Key], values: Values, errors: &mut ConfigErrors) -> Option<Config> {
        for key in keys {
            values.check(key, errors);
        }
        let mut config = Config::read(&|name| values.text(name))?;
        config.check_together(&values, errors);
        config.listed = print::listed(keys, &values);
        config.base = Base(values);
        errors.0.is_empty().then_some(config)
    }

    /// The defaults alone, as tests and tools want them.
    pub fn defaults() -> Result<Config, ConfigErrors> {
        Config::load(&Sources::default()).map(|loaded| loaded.config)
    }

    /// Rules between settings, and settings whose time has not come.
    fn check_together(&self, values: &Values, errors: &mut ConfigErrors) {
        self.server.check_together(values, errors);
        self.payout.check_together(values, errors);
        if self.payout.mode == PayoutMode::Live && self.payout.gateway == Gateway::Tron {
            self.tron.check_together(values, errors);
        }
        if self.payout.mode == PayoutMode::Live && self.payout.gateway == Gateway::PaymentService && self.tron_payment.url.is_none() {
            errors.0.push(values.error("tron_payment.url", "must be given for payout.gateway = payment_service"));
        }
        let listener = self.webhooks.payouts_url.as_ref().and_then(|url| Target::parse(url.reveal()).ok()?.address());
        if let Some(Err(why)) = listener.filter(|_| !self.webhooks.allow_private).map(check_public) {
            errors.0.push(values.error("webhooks.payouts_url", &why.to_string()));
        }
        for (key, price) in [
            ("default_pool.cost_per_hour", Some(self.default_pool.cost_per_hour)),
            ("default_pool.reward_per_hour", self.default_pool.reward_per_hour),
        ] {
            let currency = self.default_pool.currency;
            if let Some(Err(error)) = price.map(|price| Amount::from_decimal(price, currency)) {
                errors.0.push(values.error(key, &error.to_string()));
            }
        }
    }
}

impl Loaded {
    /// The configuration in force as TOML, each value with its origin; secrets are masked.
    pub fn to_toml(&self) -> String {
        print::to_toml(&settings::keys(), &self.values)
    }

    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.origin(key)
    }
}

impl Server {
    /// Where browsers reach this manager, without a trailing slash; agents too, unless they have a listener of their own.
    pub fn public_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}://{}", self.scheme(self.listen), reachable(self.listen)),
        }
    }

    /// Where agents reach this manager, without a trailing slash.
    pub fn agent_url(&self) -> String {
        match (self.node_listen, self.public_host()) {
            (None, _) => self.public_url(),
            (Some(listen), Some(host)) if !listen.ip().is_loopback() => format!("{}://{host}:{}", self.scheme(listen), listen.port()),
            (Some(listen), _) => format!("{}://{}", self.scheme(listen), reachable(listen)),
        }
    }

    /// Host of the configured public URL, an IPv6 address in brackets.
    pub fn public_host(&self) -> Option<String> {
        let url = reqwest::Url::parse(self.public_url.as_ref()?).ok()?;
        url.host_str().map(str::to_owned)
    }

    /// What a client is best told to speak with this listener.
    pub fn scheme(&self, listen: SocketAddr) -> &'static str {
        match self.tls {
            TlsMode::Required => "https",
            TlsMode::Auto if !listen.ip().is_loopback() && !self.allow_plain_http => "https",
            TlsMode::Auto | TlsMode::Off => "http",
        }
    }

    fn check_together(&self, values: &Values, errors: &mut ConfigErrors) {
        let listeners =
            [("server.listen", Some(self.listen)), ("server.node_listen", self.node_listen), ("server.ops_listen", self.ops_listen)];
        for (index, (key, listen)) in listeners.iter().enumerate() {
            let Some(listen) = listen else { continue };
            if self.tls == TlsMode::Off && !self.allow_plain_http && !listen.ip().is_loopback() {
                errors.0.push(values.error(
                    key,
                    "only loopback addresses while server.tls is off: passwords would travel in clear. Leave TLS on, or set \
                     server.allow_plain_http = true on a network where that is acceptable",
                ));
            }
            if listen.port() != 0 && listeners[..index].iter().any(|(_, other)| *other == Some(*listen)) {
                errors.0.push(values.error(key, "must differ from the other listeners; leave it empty to share one"));
            }
        }
        if self.tls == TlsMode::Required && self.allow_plain_http {
            errors.0.push(values.error("server.allow_plain_http", "must be false while server.tls is required"));
        }
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => errors.0.push(values.error("server.key_file", "must be given together with server.certificate_file")),
            (None, Some(_)) => errors.0.push(values.error("server.certificate_file", "must be given together with server.key_file")),
            (Some(_), Some(_)) if self.tls == TlsMode::Off => {
                errors.0.push(values.error("server.certificate_file", "must be empty while server.tls is off"));
            }
            _ => {}
        }
    }
}

impl Payout {
    fn check_together(&self, values: &Values, errors: &mut ConfigErrors) {
        if self.mode == PayoutMode::Live && self.gateway == Gateway::None {
            errors.0.push(values.error("payout.gateway", "must be tron or payment_service for payout.mode = live"));
        }
        if self.max_hour_usdt.units > self.max_day_usdt.units {
            errors.0.push(values.error("payout.max_hour_usdt", "must be at most payout.max_day_usdt"));
        }
    }
}

impl Tron {
    /// What a gateway on the chain cannot do without.
    fn check_together(&self, values: &Values, errors: &mut ConfigErrors) {
        let mut require = |ok: bool, key: &str, problem: &str| {
            if !ok {
                errors.0.push(values.error(key, problem));
            }
        };
        require(self.node_url.is_some(), "tron.node_url", "must be given for payout.gateway = tron");
        let by_itself = self.signer_socket.is_some();
        require(
            self.keystore.is_some() != by_itself,
            "tron.keystore",
            "give either this, for a signer that the manager starts, or tron.signer_socket",
        );
        require(!by_itself || self.wallet.is_some(), "tron.wallet", "must be given with tron.signer_socket");
        require(!by_itself || self.passphrase.is_none(), "tron.passphrase", "is for a signer that the manager starts");
        require(self.signer_key.is_some() == self.permission_id.is_some(), "tron.permission_id", "goes together with tron.signer_key");
        let is_private = self.network == TronNetwork::Private;
        require(
            self.genesis_block_id.is_some() == is_private,
            "tron.genesis_block_id",
            "must be given for tron.network = private, and for no other",
        );
        require(!is_private || self.usdt_contract.is_some(), "tron.usdt_contract", "must be given for tron.network = private");
    }
}

/// Nobody can connect to an unspecified address; the name of this machine is the best guess.
fn reachable(listen: SocketAddr) -> String {
    if listen.ip().is_unspecified() {
        format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), listen.port())
    } else {
        listen.to_string()
    }
}

impl DefaultPool {
    /// What an hour in the default pool costs and earns.
    pub fn pricing(&self) -> Pricing {
        let units = |price: Decimal| Amount::from_decimal(price, self.currency).map_or(Units::ZERO, |amount| amount.units);
        Pricing {
            cost_per_hour: units(self.cost_per_hour),
            reward_per_hour: units(self.reward_per_hour.unwrap_or(self.cost_per_hour)),
            currency: self.currency,
        }
    }
}

#[cfg(test)]
mod tests;
