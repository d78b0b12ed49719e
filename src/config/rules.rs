//! What a setting may be. A rule parses a text or refuses it, and says in words what it allows.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use rust_decimal::Decimal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::domain::address::TronAddress;
use crate::domain::backup::parse_time_of_day;
use crate::domain::guard::ClassLimit;
use crate::domain::money::{Amount, Currency, parse_decimal};
use crate::domain::node::NodeType;
use crate::domain::time::SLOT_SECONDS;
use crate::domain::webhook::{MAX_URL, Target};

/// A text that no log, error or print shows.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

/// What is shown instead of a secret.
pub(super) const MASK: &str = "***";

impl Secret {
    /// For the one use it was given for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Requests per minute: no limit to speak of.
pub(super) const MAX_REQUESTS: u32 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    Auto,
    Required,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayoutMode {
    DryRun,
    Live,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    None,
    PaymentService,
    Tron,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TronNetwork {
    Mainnet,
    Nile,
    Shasta,
    Private,
}

/// How an amount is written into JSON; exact either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmountAs {
    Number,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Which log lines are wanted: a level, with exceptions by module.
#[derive(Debug, Clone, PartialEq)]
pub struct LogTargets(pub Targets);

type Parse<T> = Box<dyn Fn(&str) -> Option<T>>;

/// Parses one setting; a refusal needs no words of its own, because `allowed` has them.
pub(super) struct Rule<T> {
    /// Completes "must be ...".
    allowed: String,
    /// Numbers and switches stand bare in TOML.
    bare: bool,
    secret: bool,
    parse: Parse<T>,
}

impl<T> Rule<T> {
    fn new(allowed: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Rule<T> {
        Rule { allowed: allowed.into(), bare: false, secret: false, parse: Box::new(parse) }
    }

    fn bare(self) -> Rule<T> {
        Rule { bare: true, ..self }
    }

    fn secret(self) -> Rule<T> {
        Rule { secret: true, ..self }
    }

    pub(super) fn parse(&self, text: &str) -> Option<T> {
        (self.parse)(text)
    }
}

/// Whether two texts mean the same value; `None` when one is not allowed.
type Same = Box<dyn Fn(&str, &str) -> Option<bool>>;

/// A setting without its type: what the layers, the errors and the documentation need.
pub(super) struct Key {
    /// `section.field`, as in the file.
    pub name: String,
    pub section: &'static str,
    pub field: &'static str,
    /// Names from older documents.
    pub env: &'static [&'static str],
    pub doc: String,
    pub allowed: String,
    pub bare: bool,
    pub secret: bool,
    same: Same,
}

impl Key {
    pub(super) fn new<T: PartialEq + 'static>(
        section: &'static str,
        field: &'static str,
        env: &'static [&'static str],
        doc: &str,
        rule: Rule<T>,
    ) -> Key {
        let Rule { allowed, bare, secret, parse } = rule;
        let same = Box::new(move |a: &str, b: &str| Some(parse(a)? == parse(b)?));
        Key { name: format!("{section}.{field}"), section, field, env, doc: doc.trim().to_owned(), allowed, bare, secret, same }
    }

    pub(super) fn accepts(&self, text: &str) -> bool {
        (self.same)(text, text).is_some()
    }

    /// Both texts are allowed and mean the same value.
    pub(super) fn same(&self, a: &str, b: &str) -> bool {
        (self.same)(a, b) == Some(true)
    }

    /// `LUCID__SECTION__FIELD`.
    pub(super) fn env_name(&self) -> String {
        format!("LUCID__{}__{}", self.section, self.field).to_uppercase()
    }
}

/// Empty means `None`.
pub(super) fn optional<T: 'static>(rule: Rule<T>) -> Rule<Option<T>> {
    let Rule { allowed, bare, secret, parse } = rule;
    let parse = Box::new(move |text: &str| if text.is_empty() { Some(None) } else { parse(text).map(Some) });
    Rule { allowed: format!("empty, or {allowed}"), bare, secret, parse }
}

pub(super) fn whole(min: u32, max: u32) -> Rule<u32> {
    Rule::new(format!("a whole number from {min} to {max}"), move |text| digits(text).filter(|n| (min..=max).contains(n))).bare()
}

/// Digits only: the standard parser also takes a plus sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

pub(super) fn decimal(min: i64, max: i64, places: u32) -> Rule<Decimal> {
    let range = Decimal::from(min)..=Decimal::from(max);
    let allowed = format!("a decimal number from {min} to {max} with at most {places} decimal places");
    Rule::new(allowed, move |text| {
        let number = parse_decimal(text).ok()?.normalize();
        (range.contains(&number) && number.scale() <= places).then_some(number)
    })
    .bare()
}

/// A positive amount of money, at most a million.
pub(super) fn amount(currency: Currency) -> Rule<Amount> {
    amount_up_to(currency, 1_000_000)
}

/// A positive sum of many amounts.
pub(super) fn sum(currency: Currency) -> Rule<Amount> {
    amount_up_to(currency, 1_000_000_000)
}

fn amount_up_to(currency: Currency, max_whole: i64) -> Rule<Amount> {
    let decimals = currency.decimals();
    let allowed = format!("an amount of {currency} above 0 and up to {max_whole} with at most {decimals} decimal places");
    Rule::new(allowed, move |text| {
        let amount = Amount::parse(text, currency).ok()?;
        (1..=max_whole * 10i64.pow(decimals)).contains(&amount.units.0).then_some(amount)
    })
    .bare()
}

pub(super) fn switch() -> Rule<bool> {
    choice(&[("true", true), ("false", false)]).bare()
}

/// One of a few words, in any case.
pub(super) fn choice<T: Clone + 'static>(choices: &'static [(&'static str, T)]) -> Rule<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Rule::new(words.join(" or "), |text| choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| value.clone()))
}

pub(super) fn address() -> Rule<SocketAddr> {
    Rule::new("an address and a port, such as 127.0.0.1:8095 or [::1]:8095; port 0 picks a free one", |text| {
        SocketAddr::from_str(text).ok()
    })
}

/// Host names and addresses without ports.
pub(super) fn hosts() -> Rule<Vec<String>> {
    const MAX_HOSTS: usize = 64;
    let is_host = |host: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain))
    };
    Rule::new(format!("empty, or up to {MAX_HOSTS} host names or addresses without ports, separated by commas"), move |text| {
        let hosts: Vec<&str> = text.split(',').map(str::trim).filter(|_| !text.is_empty()).collect();
        let fine = hosts.len() <= MAX_HOSTS && hosts.iter().all(|host| is_host(host));
        fine.then(|| hosts.into_iter().map(str::to_owned).collect())
    })
}

pub(super) fn path() -> Rule<PathBuf> {
    Rule::new("a path", |text| (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text)))
}

/// For what must not depend on where the process was started.
pub(super) fn absolute_path() -> Rule<PathBuf> {
    let path = path();
    Rule::new("an absolute path", move |text| path.parse(text).filter(|path| path.is_absolute()))
}

/// As minutes since midnight.
pub(super) fn time_of_day() -> Rule<u32> {
    Rule::new("a time of day from 00:00 to 23:59", parse_time_of_day)
}

pub(super) fn http_url() -> Rule<String> {
    Rule::new("an http:// or https:// URL without user name, query or fragment", |text| {
        let url = reqwest::Url::parse(text).ok()?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then(|| text.to_owned())
    })
}

/// Its path may be a secret.
pub(super) fn webhook_url() -> Rule<Secret> {
    Rule::new(format!("an http:// or https:// URL of at most {MAX_URL} characters without user name"), |text| {
        Target::parse(text).ok().map(|_| Secret(text.to_owned()))
    })
    .secret()
}

/// A path below a base URL, which names `hole` once where that is not empty.
pub(super) fn url_path(hole: &'static str) -> Rule<String> {
    const MAX: usize = 200;
    let with = if hole.is_empty() { String::new() } else { format!(", with {hole} once") };
    Rule::new(format!("a path of a URL that begins with /{with}"), move |text| {
        let rest = if hole.is_empty() { Some(text.to_owned()) } else { text.split_once(hole).map(|(a, b)| format!("{a}{b}")) }?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~?=&:@,".contains(&b);
        (text.len() <= MAX && rest.starts_with('/') && !rest.starts_with("//") && rest.bytes().all(plain)).then(|| text.to_owned())
    })
}

fn is_field(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// A name in JSON.
pub(super) fn field() -> Rule<String> {
    Rule::new("a name of up to 64 letters, digits, _, - and .", |text| is_field(text).then(|| text.to_owned()))
}

pub(super) fn words() -> Rule<Vec<String>> {
    const MAX: usize = 16;
    Rule::new(format!("empty, or up to {MAX} names of letters, digits, _, - and ., separated by commas"), |text| {
        list(text, MAX, |word| is_field(word).then(|| word.to_owned()))
    })
}

/// URLs of the same kind, separated by commas.
pub(super) fn http_urls() -> Rule<Vec<String>> {
    const MAX: usize = 8;
    let one = http_url();
    Rule::new(format!("empty, or up to {MAX} of them, separated by commas, each {}", one.allowed), move |text| {
        list(text, MAX, |url| one.parse(url))
    })
}

/// The parts of a text between commas; none of an empty one.
fn list<T>(text: &str, max: usize, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()).collect();
    if parts.len() > max { None } else { parts.into_iter().map(one).collect() }
}

pub(super) fn tron_address() -> Rule<String> {
    Rule::new("a TRON address", |text| TronAddress::parse(text).ok().map(|address| address.to_string()))
}

pub(super) fn addresses() -> Rule<Vec<String>> {
    const MAX: usize = 1_000;
    Rule::new(format!("empty, or up to {MAX} TRON addresses, separated by commas"), |text| {
        list(text, MAX, |address| TronAddress::parse(address).ok().map(|address| address.to_string()))
    })
}

/// 32 bytes in hex.
pub(super) fn block_id() -> Rule<String> {
    Rule::new("64 hex digits", |text| (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase()))
}

/// `type=largest payout/most in 24 hours`, separated by commas.
pub(super) fn class_limits() -> Rule<Vec<ClassLimit>> {
    let usdt = amount(Currency::Usdt);
    let day = sum(Currency::Usdt);
    let allowed = "empty, or worker, validator, storage or compute with amounts of USDT, such as storage=50/200, separated by commas";
    Rule::new(allowed, move |text| {
        let limits: Vec<ClassLimit> = list(text, 4, |part| {
            let (class, amounts) = part.split_once('=')?;
            let (payout, in_a_day) = amounts.split_once('/')?;
            let class = NodeType::ALL.into_iter().find(|known| known.as_str() == class.trim())?;
            let (max_payout, max_day) = (usdt.parse(payout.trim())?.units, day.parse(in_a_day.trim())?.units);
            Some(ClassLimit { class, max_payout, max_day })
        })?;
        let names_each_once = limits.iter().enumerate().all(|(n, limit)| limits[..n].iter().all(|other| other.class != limit.class));
        names_each_once.then_some(limits)
    })
}

/// A secret of so many characters at least, and few enough to be one.
pub(super) fn secret(min: usize) -> Rule<Secret> {
    const MAX: usize = 1_024;
    Rule::new(format!("a secret of {min} to {MAX} characters"), move |text| {
        ((min..=MAX).contains(&text.chars().count())).then(|| Secret(text.to_owned()))
    })
    .secret()
}

pub(super) fn short_text() -> Rule<String> {
    const MAX: usize = 256;
    Rule::new(format!("a text of up to {MAX} characters"), |text| {
        ((1..=MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control)).then(|| text.to_owned())
    })
}

/// May hold a password, so it is a secret as a whole.
pub(super) fn mongodb_uri() -> Rule<Secret> {
    // `mongodb+srv://` asks a name server for the hosts, which this binary brings no resolver for.
    Rule::new("a mongodb:// connection string (for mongodb+srv://, take the standard one that names the hosts)", |text| {
        let rest = text.strip_prefix("mongodb://")?;
        (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| Secret(text.to_owned()))
    })
    .secret()
}

/// The most that a crash of the manager makes the agents send again stays small.
const MAX_FLUSH_SECONDS: u32 = 300;

/// `None` for `auto`: the flush itself knows the fleet.
pub(super) fn flush_every() -> Rule<Option<u32>> {
    Rule::new(format!("auto, or a whole number of seconds from 5 to {MAX_FLUSH_SECONDS}"), |text| match text {
        "auto" => Some(None),
        _ => digits(text).filter(|n| (5..=MAX_FLUSH_SECONDS).contains(n)).map(Some),
    })
    .bare()
}

pub(super) fn epoch_length() -> Rule<u32> {
    const DAY_SECONDS: u32 = 86_400;
    Rule::new("a multiple of 30 seconds that divides a day (86400)", |text| {
        let slot = u32::try_from(SLOT_SECONDS).ok()?;
        digits(text).filter(|n| *n > 0 && n.is_multiple_of(slot) && DAY_SECONDS.is_multiple_of(*n))
    })
    .bare()
}

/// The words of `log.level` and `LOG_LEVEL`.
const LOG_TARGETS: &str = "error, warn, info, debug, trace or off, or a list such as info,lucid::storage=debug";

pub(super) fn log_targets() -> Rule<LogTargets> {
    Rule::new(LOG_TARGETS, |text| parse_log_targets(text).ok())
}

/// A level or a list; the error says what is allowed.
pub fn parse_log_targets(text: &str) -> Result<LogTargets, String> {
    // Python's names, which older deployments have in their environment.
    let known = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        _ => text.to_owned(),
    };
    // `Targets` takes an unknown word for a module name; a misspelt level must not silence the log.
    let mut bare_words = known.split(',').filter(|part| !part.contains('='));
    let plausible = !known.is_empty() && bare_words.all(|word| LevelFilter::from_str(word).is_ok());
    let targets = if plausible { Targets::from_str(&known).ok() } else { None };
    targets.map(LogTargets).ok_or_else(|| format!("the log level {text:?} must be {LOG_TARGETS}"))
}
