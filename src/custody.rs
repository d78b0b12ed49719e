//! `wallet …` and `signer` on the command line.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lucid::clock::Clock;
use lucid::config::LogFormat;
use lucid::crypto::{self, Entropy, SecretKey};
use lucid::domain::address::TronAddress;
use lucid::domain::time::{Timestamp, TrustPolicy};
use lucid::gateways::payment::signer::{self, COST, Caps, Fresh, Keystore, KeystoreError, Passphrase, Signer, SignerError, Socket, Wallet};
use lucid::logging;
use zeroize::Zeroizing;

use crate::{Failure, ask_hidden, failed, misused, print, read_small};

/// Name of the systemd credential.
const CREDENTIAL: &str = "wallet-passphrase";

#[derive(Subcommand)]
pub enum WalletCommand {
    /// Make a key and its keystore; prints the address
    Create {
        #[command(flatten)]
        file: KeystoreFile,
        #[command(flatten)]
        passphrase: PassphraseFile,
    },
    /// Put a key that exists into a keystore: 64 hex digits, asked for on the terminal; prints the address
    Import {
        #[command(flatten)]
        file: KeystoreFile,
        #[command(flatten)]
        passphrase: PassphraseFile,
        /// File with the 64 hex digits, or - for standard input
        #[arg(long, value_name = "FILE|-")]
        private_key_file: Option<PathBuf>,
    },
    /// Print the address of a keystore; wants no passphrase
    Address {
        #[command(flatten)]
        file: KeystoreFile,
    },
    /// Seal the key with another passphrase; copies of the old file still open with the old one
    ChangePassphrase {
        #[command(flatten)]
        file: KeystoreFile,
        #[command(flatten)]
        passphrase: PassphraseFile,
        /// File with the new passphrase, or - for standard input
        #[arg(long, value_name = "FILE|-")]
        new_passphrase_file: Option<PathBuf>,
    },
}

#[derive(Args)]
pub struct KeystoreFile {
    /// The file of the sealed key
    #[arg(long, value_name = "FILE")]
    keystore: PathBuf,
}

#[derive(Args)]
pub struct PassphraseFile {
    /// File with the passphrase, or - for standard input; otherwise the systemd credential wallet-passphrase, or asked for
    #[arg(long, value_name = "FILE|-")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct SignerArgs {
    #[command(flatten)]
    file: KeystoreFile,
    /// Unix socket to listen on
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Folder of the log of what was signed; never to be lost, and never to be restored from an older copy
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// File with the passphrase, or - for standard input; otherwise the systemd credential wallet-passphrase, or locked until somebody unlocks it
    #[arg(long, value_name = "FILE|-")]
    passphrase_file: Option<PathBuf>,
    /// Largest payout
    #[arg(long, value_name = "USDT", value_parser = micro_usdt)]
    max_payout_usdt: u64,
    /// Largest sum of payouts in any 24 hours
    #[arg(long, value_name = "USDT", value_parser = micro_usdt)]
    max_24h_usdt: u64,
    /// Largest fee limit of a transfer
    #[arg(long, value_name = "SUN")]
    max_fee_sun: u64,
    /// Token contract that may be paid from; may be given again
    #[arg(long = "contract", value_name = "T...", value_parser = address, required = true)]
    contracts: Vec<TronAddress>,
    /// The account that pays, where the keystore's key has only a permission of it [default: the key's own]
    #[arg(long, value_name = "T...", value_parser = address, requires = "permission_id")]
    account: Option<TronAddress>,
    /// The active permission that the key has
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=9))]
    permission_id: Option<u32>,
    /// User besides the signer's own who may ask, by number or name; may be given again
    #[arg(long = "allow-uid", value_name = "UID", value_parser = uid)]
    allowed: Vec<u32>,
    /// End when standard input is closed: for the manager that starts it
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub fn wallet(command: WalletCommand) -> Result<(), Failure> {
    match command {
        WalletCommand::Create { file, passphrase } => {
            let entropy = Entropy::new();
            let passphrase = new_passphrase(passphrase.passphrase_file.as_deref(), "Passphrase of the new wallet")?;
            create(&file.keystore, &SecretKey(entropy.bytes()), &passphrase, &entropy)
        }
        WalletCommand::Import { file, passphrase, private_key_file } => {
            let secret = private_key(private_key_file.as_deref())?;
            let passphrase = new_passphrase(passphrase.passphrase_file.as_deref(), "Passphrase of the new keystore")?;
            create(&file.keystore, &secret, &passphrase, &Entropy::new())
        }
        WalletCommand::Address { file } => print(&format!("{}\n", Keystore::read(&file.keystore).map_err(of_keystore)?.address())),
        WalletCommand::ChangePassphrase { file, passphrase, new_passphrase_file } => {
            let keystore = Keystore::read(&file.keystore).map_err(of_keystore)?;
            let old = known_passphrase(passphrase.passphrase_file.as_deref())?;
            let old = old.map_or_else(|| asked("Passphrase"), Ok)?;
            // Told before the new one is asked for.
            keystore.open(&old).map_err(of_keystore)?;
            let new = match new_passphrase_file {
                Some(path) => passphrase_of(&path)?,
                None => asked_twice("New passphrase")?,
            };
            keystore.change_passphrase(&old, &new, COST, fresh(&Entropy::new())).map_err(of_keystore)?;
            print("the passphrase is changed; copies of the old file still open with the old one\n")
        }
    }
}

fn create(path: &Path, secret: &SecretKey, passphrase: &Passphrase, entropy: &Entropy) -> Result<(), Failure> {
    let keystore = Keystore::create(path, secret, passphrase, COST, fresh(entropy)).map_err(of_keystore)?;
    print(&format!("{}\n", keystore.address()))
}

fn fresh(entropy: &Entropy) -> Fresh {
    Fresh { salt: entropy.bytes(), nonce: entropy.bytes() }
}

fn of_keystore(error: KeystoreError) -> Failure {
    match error {
        KeystoreError::File(..) => failed(error),
        _ => misused(error),
    }
}

/// Never from an argument: a process list shows those.
fn private_key(file: Option<&Path>) -> Result<SecretKey, Failure> {
    let text = match file {
        Some(path) => read_small(path).map_err(|error| misused(format!("the key cannot be read from {}: {error}", path.display())))?,
        None => ask_hidden("Private key (64 hex digits)")
            .map_err(failed)?
            .ok_or_else(|| nobody_to_ask("the private key", "--private-key-file"))?,
    };
    let text = Zeroizing::new(text);
    let bytes = Zeroizing::new(crypto::unhex(text.trim()).unwrap_or_default());
    bytes.as_slice().try_into().map(SecretKey).map_err(|_| misused("a private key has 64 hex digits"))
}

/// From a file or the systemd credential.
fn known_passphrase(file: Option<&Path>) -> Result<Option<Passphrase>, Failure> {
    let credential =
        || std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL)).filter(|path| path.is_file());
    file.map(Path::to_owned).or_else(credential).map(|path| passphrase_of(&path)).transpose()
}

fn passphrase_of(path: &Path) -> Result<Passphrase, Failure> {
    let text = read_small(path).map_err(|error| misused(format!("the passphrase cannot be read from {}: {error}", path.display())))?;
    Ok(Passphrase::new(&Zeroizing::new(text)))
}

fn new_passphrase(file: Option<&Path>, question: &str) -> Result<Passphrase, Failure> {
    let passphrase = known_passphrase(file)?.map_or_else(|| asked_twice(question), Ok)?;
    passphrase.check().map_err(misused)?;
    Ok(passphrase)
}

fn asked(question: &str) -> Result<Passphrase, Failure> {
    let answer = ask_hidden(question).map_err(failed)?.ok_or_else(|| nobody_to_ask("the passphrase", "--passphrase-file"))?;
    Ok(Passphrase::new(&Zeroizing::new(answer)))
}

fn asked_twice(question: &str) -> Result<Passphrase, Failure> {
    let passphrase = asked(question)?;
    if passphrase.same(&asked("The same again")?) { Ok(passphrase) } else { Err(misused("the two are not the same")) }
}

fn nobody_to_ask(what: &str, flag: &str) -> Failure {
    misused(format!("{what} is asked for on a terminal, and none was given; {flag} reads it from a file"))
}

pub fn signer(args: SignerArgs) -> Result<(), Failure> {
    let _logs = logging::start_console(lucid::config::parse_log_targets("info").map_err(misused)?.0, LogFormat::Text).map_err(failed)?;
    signer::harden().map_err(failed)?;
    if args.with_parent && args.passphrase_file.as_deref() == Some(Path::new("-")) {
        return Err(misused("standard input is the parent's; it brings no passphrase"));
    }
    let SignerArgs { max_payout_usdt: max_payout, max_24h_usdt: max_24h, max_fee_sun, contracts, account, .. } = args;
    let caps = Caps { max_payout, max_24h, max_fee_sun, contracts };
    let permission_id = args.permission_id.and_then(NonZeroU32::new);
    let wallet = |keystore: &Keystore| {
        let key = keystore.address();
        Wallet { account: account.unwrap_or(key), key, permission_id }
    };
    let clock = Clock::system(TrustPolicy::Earned, Timestamp(0));
    let mut signer = Signer::open(&args.file.keystore, &args.state_dir, wallet, caps).map_err(|error| match error {
        SignerError::Keystore(error) => of_keystore(error),
        SignerError::Log(error) => failed(error),
    })?;
    if let Some(passphrase) = known_passphrase(args.passphrase_file.as_deref())? {
        signer.unlock(&passphrase, clock.now()).map_err(|refused| misused(refused.message))?;
    }
    let socket = Socket::bind(&args.socket, &args.allowed).map_err(|error| failed(format!("{}: {error}", args.socket.display())))?;
    if args.with_parent {
        signer::end_with_parent().map_err(failed)?;
    }
    let wallet = *signer.wallet();
    print(&format!("listening on {}\n", args.socket.display()))?;
    tracing::info!(account = %wallet.account, key = %wallet.key, "the signer is ready");
    Err(failed(socket.serve(signer, &|| clock.now())))
}

fn address(text: &str) -> Result<TronAddress, String> {
    TronAddress::parse(text).map_err(|error| format!("the address {error}"))
}

/// Whole USDT with up to six places, as micro-USDT.
fn micro_usdt(text: &str) -> Result<u64, String> {
    let wrong = || "must be an amount like 250 or 0.5, with six places at most".to_owned();
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > 6 {
        return Err(wrong());
    }
    let parsed = format!("{whole}{places:0<6}").parse().map_err(|_| wrong())?;
    if parsed == 0 { Err("must be above zero".into()) } else { Ok(parsed) }
}

fn uid(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == text).then(|| fields.nth(1)?.parse().ok())?
    };
    passwd.lines().find_map(of).ok_or_else(|| format!("there is no user {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!((micro_usdt("250"), micro_usdt("0.5"), micro_usdt("1.000001")), (Ok(250_000_000), Ok(500_000), Ok(1_000_001)));
        for wrong in ["", ".", "1.", ".5", "-1", "1e3", "0.0000001", "0", "0.0", "+1", "99999999999999999999"] {
            assert!(micro_usdt(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn users_are_named_by_number_or_name() {
        assert_eq!((uid("998"), uid("root")), (Ok(998), Ok(0)));
        assert!(uid("nobody knows").is_err());
    }
}
