//! The command line and nothing else. Exit status: 0 done, 1 it failed, 2 it was asked for wrongly; `verify-proof` has 3 besides.

mod backup_tools;
mod custody;
mod money_tools;
mod prove;
mod verify_tools;

use std::fmt::Display;
use std::future::Future;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backup_tools::{BackupArgs, RestoreArgs};
use clap::{Args, Parser, Subcommand};
use custody::{SignerArgs, WalletCommand};
use lucid::agent::{self, AgentConfig, AgentError, LaunchOrder};
use lucid::app::{self, App};
use lucid::clock::{Clock, boot_id};
use lucid::config::{self, AgentFile, Config, Loaded, LogFormat, Sources};
use lucid::crypto;
use lucid::domain::audit::{Act, Actor, Draft};
use lucid::domain::password::check_password;
use lucid::domain::proof::succession::Succession;
use lucid::domain::refusal::FieldErrors;
use lucid::domain::time::Timestamp;
use lucid::domain::user::{PasswordHash, Role, User};
use lucid::host;
use lucid::logging;
use lucid::storage::core::people::{self, UserChange};
use lucid::storage::core::{audit, money, second_factor};
use lucid::storage::hot::{self, Anchor};
use lucid::storage::recovery::{self, Kit};
use lucid::storage::restore;
use lucid::storage::rotation;
use lucid::storage::table::WriteTx;
use lucid::storage::{Store, carried_trust, high_water};
use money_tools::MoneyCommand;
use prove::ProofArgs;
use rustix::termios::{self, LocalModes, OptionalActions};
use verify_tools::VerifyArgs;
use zeroize::Zeroize;

#[derive(Parser)]
#[command(version, about = "Node management in one file: `serve` is the manager, `agent` runs on every worker node")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the manager
    Serve(ServeArgs),
    /// Run the agent of a worker node
    Agent(AgentArgs),
    /// Becomes the workload of a node; for the agent only
    #[command(hide = true)]
    ExecWorkload(ExecWorkloadArgs),
    /// Back the store up, also while the manager runs
    Backup(BackupArgs),
    /// Put a backup in the place of a store whose manager is not running; payouts are frozen afterwards
    Restore(RestoreArgs),
    /// Check a store or a backup from end to end; exit status 0 when it is good
    Verify(VerifyArgs),
    /// Check a proof of a score, or that two heads are of one history, offline; exit status 0 good, 3 not everything could be checked, 1 wrong
    VerifyProof(ProofArgs),
    /// Make an enrolment token for one machine, while the manager is not running; printed once
    EnrolmentToken(DataDir),
    /// Print the OpenAPI document
    Openapi,
    /// Whether the machine's clock is believed
    #[command(subcommand)]
    Clock(ClockCommand),
    /// The keys of a manager
    #[command(subcommand)]
    Keys(KeysCommand),
    /// The way back in for who lost a password or a second factor, while the manager is not running; audited
    #[command(subcommand)]
    Users(UsersCommand),
    /// The wallet that pays: its key, in a file that a passphrase opens
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Whether payouts may be signed, while the manager is not running
    #[command(subcommand)]
    Money(MoneyCommand),
    /// Run the signer: the process that holds the wallet's key and signs payouts for the manager
    Signer(SignerArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything this manager keeps
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Print the configuration in force, with the origin of each value, and exit
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
struct AgentArgs {
    /// URL of the manager
    #[arg(long, value_name = "URL")]
    manager: Option<String>,
    /// File with the enrolment token, or - for standard input; asked for on a terminal when it is needed
    #[arg(long, value_name = "FILE|-")]
    token_file: Option<PathBuf>,
    /// Folder of the key, the enrolment and the spool [default: ./lucid-agent]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Wanted name of the node [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Configuration file (TOML): manager, token_file, state_dir, name, spool_max_mb, ca_file, log_level, [workload]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct ExecWorkloadArgs {
    #[arg(long)]
    cgroup: Option<PathBuf>,
    #[arg(long)]
    memory_bytes: Option<u64>,
    #[arg(long)]
    user: Option<String>,
    #[arg(last = true, required = true)]
    command: Vec<std::ffi::OsString>,
}

#[derive(Args, Clone)]
struct DataDir {
    /// Folder of the manager's store
    #[arg(long, value_name = "DIR")]
    data_dir: String,
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Show the clock, the highest time in the store, and whether the clock is trusted
    Status(DataDir),
    /// Vouch for the present time, even when the store has seen a later one; audited
    Accept(DataDir),
}

#[derive(Subcommand)]
enum UsersCommand {
    /// Set a new password, asked for on the terminal; ends the person's sessions
    ResetPassword {
        #[command(flatten)]
        store: DataDir,
        /// File with the new password, or - for standard input
        #[arg(long, value_name = "FILE|-")]
        password_file: Option<PathBuf>,
        username: String,
    },
    /// Take the second factor away; ends the person's sessions
    ResetTotp {
        #[command(flatten)]
        store: DataDir,
        username: String,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Rebuild the key file of a store from its recovery kit
    Recover {
        #[command(flatten)]
        store: DataDir,
        /// The recovery kit
        #[arg(long, value_name = "FILE")]
        kit: PathBuf,
    },
    /// Make another signing key for a manager that is not running; agents of this release or a later one follow it; audited
    Rotate(DataDir),
}

enum Failure {
    Usage(String),
    Runtime(String),
    /// What was looked at has been said; this is only the exit status.
    Verdict(u8),
}

fn failed(error: impl Display) -> Failure {
    Failure::Runtime(error.to_string())
}

fn misused(error: impl Display) -> Failure {
    Failure::Usage(error.to_string())
}

fn main() -> ExitCode {
    host::bound_free_memory();
    let (status, message) = match run(Cli::parse().command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Runtime(message)) => (1, message),
        Err(Failure::Verdict(status)) => (status, String::new()),
    };
    if !message.is_empty() {
        eprintln!("lucid-node-management: {}", message.trim_end());
    }
    ExitCode::from(status)
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(args),
        Command::Agent(args) => agent(args),
        Command::ExecWorkload(ExecWorkloadArgs { cgroup, memory_bytes, user, command }) => {
            Err(failed(agent::exec_workload(&LaunchOrder { cgroup, memory_bytes, user, command })))
        }
        Command::Backup(args) => backup_tools::backup(args),
        Command::Restore(args) => backup_tools::restore(args),
        Command::Verify(args) => verify_tools::verify(args),
        Command::VerifyProof(args) => prove::verify_proof(&args),
        Command::EnrolmentToken(store) => enrolment_token(store),
        Command::Openapi => print_openapi(),
        Command::Clock(ClockCommand::Status(store)) => clock_status(&store_config(store)?),
        Command::Clock(ClockCommand::Accept(store)) => clock_accept(&store_config(store)?),
        Command::Keys(KeysCommand::Recover { store, kit }) => keys_recover(&store_config(store)?, &kit),
        Command::Keys(KeysCommand::Rotate(store)) => keys_rotate(&store_config(store)?),
        Command::Users(UsersCommand::ResetPassword { store, password_file, username }) => {
            reset_password(&store_config(store)?, &username, password_file.as_deref())
        }
        Command::Users(UsersCommand::ResetTotp { store, username }) => reset_totp(&store_config(store)?, &username),
        Command::Wallet(command) => custody::wallet(command),
        Command::Signer(args) => custody::signer(args),
        Command::Money(command) => money_tools::run(command),
    }
}

/// Threads that answer requests, at most: a Pi has four cores, and every thread costs memory.
const MAX_WORKERS: usize = 4;

fn serve(args: ServeArgs) -> Result<(), Failure> {
    let loaded = load(args.config, args.data_dir, args.listen)?;
    if args.print_config {
        return print(&loaded.to_toml());
    }
    let Loaded { config, notes, .. } = loaded;
    let _logs = logging::start(&config.log, &config.storage.data_dir).map_err(failed)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().map_err(failed)?;
    runtime.block_on(async { run_manager(config, shutdown()?).await })
}

/// Defaults, file, environment and flags; a wrong value is a wrong use.
fn load(file: Option<PathBuf>, data_dir: Option<String>, listen: Option<String>) -> Result<Loaded, Failure> {
    let flags = [("storage.data_dir", "--data-dir", data_dir), ("server.listen", "--listen", listen)];
    let flags = flags.into_iter().filter_map(|(key, flag, value)| Some((key, flag, value?))).collect();
    Config::load(&Sources::from_environment(file, flags)).map_err(misused)
}

/// For the tools: the store must be there, and is never made by looking at it.
fn store_config(store: DataDir) -> Result<Config, Failure> {
    let config = load(None, Some(store.data_dir), None)?.config;
    // One that is being exchanged has no files for a moment; whoever opens it finishes that.
    if config.storage.data_dir.join("core.redb").is_file() || restore::is_pending(&config.storage.data_dir) {
        Ok(config)
    } else {
        Err(misused(format!("there is no store in {}", config.storage.data_dir.display())))
    }
}

fn agent(args: AgentArgs) -> Result<(), Failure> {
    let file = args.config.as_deref().map(AgentFile::load).transpose().map_err(misused)?.unwrap_or_default();
    let level = std::env::var("LOG_LEVEL").ok().or(file.log_level).unwrap_or_else(|| "info".to_owned());
    let targets = config::parse_log_targets(&level).map_err(misused)?;
    let manager = args.manager.or(file.manager).ok_or_else(|| misused("--manager URL is required"))?;
    let state_dir = args.state_dir.or(file.state_dir).unwrap_or_else(|| PathBuf::from("./lucid-agent"));
    let mut config = AgentConfig::new(manager, state_dir);
    config.name = args.name.or(file.name);
    config.ca_file = file.ca_file;
    config.workload = file.workload;
    if let Some(megabytes) = file.spool_max_mb {
        config.spool_max_bytes = u64::from(megabytes) * 1_000_000;
    }
    let token_file = args.token_file.or(file.token_file);
    let _logs = logging::start_console(targets.0, LogFormat::Text).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let run = |config| runtime.block_on(async { Ok(lucid::agent::run(config, shutdown()?).await) });
    let mut ended = run(config.clone())?;
    // An enrolled node needs no token, so it is neither read nor asked for before it is missed.
    if matches!(ended, Err(AgentError::NoToken)) {
        config.token = match token_file {
            Some(path) => Some(read_token(&path)?),
            None => ask_hidden("Enrolment token").map_err(failed)?,
        };
        ended = run(config)?;
    }
    ended.map_err(|error| match error {
        AgentError::Manager(..) | AgentError::NoToken | AgentError::TokenMalformed => misused(error),
        _ => failed(error),
    })
}

/// Tokens, passphrases and recovery kits have far fewer bytes; more is something else.
const MAX_INPUT_BYTES: u64 = 16_384;

/// The text of a small file, or of standard input for `-`.
fn read_small(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let text = read_small(path).map_err(|error| misused(format!("the enrolment token cannot be read from {}: {error}", path.display())))?;
    Ok(text.trim().to_owned())
}

/// Asks on the terminal without showing the answer; `None` when there is no terminal or no answer.
fn ask_hidden(question: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    let shown = termios::tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    let mut answer = String::new();
    // Asked once nothing is shown any more: what was typed before that is dropped.
    let asked = write!(io::stderr(), "{question}: ").and_then(|()| io::stderr().flush());
    let read = asked.and_then(|()| stdin.lock().take(MAX_INPUT_BYTES).read_line(&mut answer));
    termios::tcsetattr(&stdin, OptionalActions::Now, &shown)?;
    read?;
    let wanted = answer.trim().to_owned();
    answer.zeroize();
    Ok((!wanted.is_empty()).then_some(wanted))
}

/// Completes at the first SIGTERM or SIGINT. Wants a runtime.
fn shutdown() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
    })
}

/// A closed pipe (`... | head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
        _ => Ok(()),
    }
}

async fn run_manager(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    app::serve(&config, &app::system_clock, shutdown, announce).await.map_err(failed)
}

/// On standard output, for the person or the program that started it. The code is in no log.
fn announce(server: &config::Server, setup_code: Option<&str>, app: &App) {
    let mut text = format!("listening on {}://{}\n", server.scheme(server.listen), server.listen);
    for (what, listen) in [("agents", server.node_listen), ("operations", server.ops_listen)] {
        if let Some(listen) = listen {
            text += &format!("{what} on {}://{listen}\n", server.scheme(listen));
        }
    }
    if let Some(tls) = &app.door.tls {
        text += &format!("certificate  SHA-256 {}\n", tls.fingerprint());
    }
    if let Some(code) = setup_code {
        text += &format!("manager key  {}\nsetup code   {code}\n", app.store.manager_key().to_hex());
    }
    if let Err(Failure::Runtime(why) | Failure::Usage(why)) = print(&text) {
        tracing::warn!(why, "standard output is closed");
    }
}

fn enrolment_token(store: DataDir) -> Result<(), Failure> {
    let config = load(None, Some(store.data_dir), None)?.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let token = runtime.block_on(app::enrolment_token(&config)).map_err(failed)?;
    print(&format!("{token}\n"))
}

fn print_openapi() -> Result<(), Failure> {
    print(&lucid::api::document::pretty())
}

/// The store of a manager that is not running, and this machine's clock judged by it.
fn open_store(config: &Config) -> Result<(Store, Clock), Failure> {
    let clock = Clock::system(config.clock.trust, Timestamp(0));
    let store = app::open_store(config, clock.now()).map_err(failed)?;
    clock.committed(high_water(&store).map_err(failed)?);
    if let Some(anchor) = carried_trust(&store, &boot_id()).map_err(failed)? {
        clock.carry(anchor);
    }
    Ok((store, clock))
}

fn clock_status(config: &Config) -> Result<(), Failure> {
    let (store, clock) = open_store(config)?;
    let believed = clock.why_untrusted().map_or_else(|| "trusted".to_owned(), |why| format!("not trusted: {why}"));
    store.close();
    print(&format!("clock        {}\nin the store {}\n{believed}\n", clock.now().wall, clock.high_water()))
}

/// The audit entry is durable before the mark moves: a crash between the two leaves a record of something that can be done again.
fn clock_accept(config: &Config) -> Result<(), Failure> {
    let (store, clock) = open_store(config)?;
    let from = clock.high_water();
    clock.accept();
    let now = clock.now();
    let draft = Draft::new(now, Actor::Console, "clock.accept", format!("{from} -> {}", now.wall));
    let write = move |tx: &mut WriteTx<'_>| {
        // Afterwards nobody could tell any more how old this store is.
        money::note_absence(tx, from)?;
        audit::append(tx, draft.clone())
    };
    store.core.write_now(write).map_err(failed)?;
    let trust = Some(Anchor { boot_id: boot_id(), wall_minus_boot_ms: now.wall.0 - now.boot.0 });
    store.hot.write_now(move |tx| hot::accept_clock(tx, now.wall, trust.clone())).map_err(failed)?;
    store.close();
    print(&format!("the highest time in the store was {from} and is {} now\n", now.wall))
}

fn reset_password(config: &Config, username: &str, file: Option<&Path>) -> Result<(), Failure> {
    let password = new_password(file)?;
    let mut errors = FieldErrors::default();
    check_password(&mut errors, "the password", &password, &[username]);
    errors.finish().map_err(misused)?;
    let (store, clock) = open_store(config)?;
    let salt = store.entropy.bytes();
    let change = UserChange { password: Some(PasswordHash { salt, hash: crypto::stretch(&password, &salt).0 }), ..UserChange::default() };
    let act = Act { actor: Actor::Console, ..Act::system(clock.now()) };
    let user = known_user(&store, username)?;
    let written = store.core.write_now(move |tx| people::update(tx, &user.id, &change, Role::SuperAdmin, None, &act));
    store.close();
    written.map_err(failed)?;
    print("the password is changed; start the manager again\n")
}

fn reset_totp(config: &Config, username: &str) -> Result<(), Failure> {
    let (store, clock) = open_store(config)?;
    let act = Act { actor: Actor::Console, ..Act::system(clock.now()) };
    let user = known_user(&store, username)?;
    let written = store.core.write_now(move |tx| second_factor::reset(tx, &user.id, Role::SuperAdmin, &act));
    store.close();
    written.map_err(failed)?;
    print("the second factor is gone; start the manager again\n")
}

fn known_user(store: &Store, username: &str) -> Result<User, Failure> {
    let user = people::user_by_name(&store.read().map_err(failed)?, username).map_err(failed)?;
    user.ok_or_else(|| failed(format!("nobody is called {username}")))
}

/// From a file, or asked for twice.
fn new_password(file: Option<&Path>) -> Result<String, Failure> {
    if let Some(path) = file {
        let text = read_small(path).map_err(|error| misused(format!("the password cannot be read from {}: {error}", path.display())))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    let asked = |question: &str| {
        let answer = ask_hidden(question).map_err(failed)?;
        answer.ok_or_else(|| misused("the password is asked for on a terminal, and none was given; --password-file reads it from a file"))
    };
    let password = asked("New password")?;
    if password == asked("The same again")? { Ok(password) } else { Err(misused("the two are not the same")) }
}

fn keys_recover(config: &Config, kit: &Path) -> Result<(), Failure> {
    let parsed = read_kit(kit)?;
    let passphrase = ask_hidden("Passphrase of the kit").map_err(failed)?;
    let passphrase = passphrase.ok_or_else(|| misused("the passphrase is asked for on a terminal, and none was given"))?;
    let now = Clock::system(config.clock.trust, Timestamp(0)).now();
    recovery::recover(&config.storage.data_dir, &parsed, &passphrase, now).map_err(failed)?;
    print("secret.key is back; start the manager again\n")
}

fn read_kit(path: &Path) -> Result<Kit, Failure> {
    let text = read_small(path).map_err(|error| misused(format!("the kit cannot be read from {}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| misused(format!("{} is no recovery kit: {error}", path.display())))
}

fn keys_rotate(config: &Config) -> Result<(), Failure> {
    let (store, clock) = open_store(config)?;
    let Succession { old_key, new_key, from_sequence, .. } = rotation::rotate(store, clock.now()).map_err(failed)?;
    let [old, new] = [old_key, new_key].map(|key| crypto::hex(&key.0));
    print(&format!(
        "old key  {old}\nnew key  {new}\nThe new key signs from head {from_sequence} on. Start the manager again: agents that pinned the old key follow by themselves.\n\
         The recovery kit stays good: it opens secret.key, and the new key lies under that in the store. Back the store up anew: a copy from before has \
         the old key, which agents do not believe once they have followed.\nTell the new key to whoever keeps it to check proofs or votes.\n\
         If the old key was stolen: agents that are away now can still be led astray with it. See \"Changing the manager's key\" in the README.\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use lucid::domain::ids::UserId;
    use lucid::domain::payout::Pin;
    use lucid::domain::totp::SecondFactor;
    use lucid::domain::wallet::{Absence, WalletRow};

    fn status(arguments: &[&str]) -> u8 {
        let arguments = [&["lucid-node-management"], arguments].concat();
        match Cli::try_parse_from(arguments).map_err(misused).and_then(|cli| run(cli.command)) {
            Ok(()) => 0,
            Err(Failure::Runtime(_)) => 1,
            Err(Failure::Usage(_)) => 2,
            Err(Failure::Verdict(status)) => status,
        }
    }

    fn flags(command: &clap::Command) -> Vec<String> {
        let own = command.get_arguments().filter_map(|a| a.get_long()).map(str::to_owned);
        own.chain(command.get_subcommands().flat_map(flags)).collect()
    }

    #[test]
    fn the_command_line_is_sound_and_takes_no_secret() {
        Cli::command().debug_assert();
        let flags = flags(&Cli::command());
        assert!(flags.iter().any(|flag| flag == "token-file"), "{flags:?}");
        let secret = ["token", "password", "passphrase", "secret", "key"];
        assert!(!flags.iter().any(|flag| secret.contains(&flag.as_str())), "a process list would show it: {flags:?}");
    }

    #[test]
    fn a_wrong_use_is_told_from_a_failure() {
        let empty = tempfile::tempdir().unwrap();
        let folder = empty.path().to_str().unwrap();
        assert_eq!(status(&["serve", "--print-config"]), 0);
        assert_eq!(status(&["serve", "--print-config", "--listen", "everywhere"]), 2);
        assert_eq!(status(&["serve", "--config", "/nonexistent/manager.toml"]), 2);
        assert_eq!(status(&["agent"]), 2);
        assert_eq!(status(&["agent", "--manager", "http://127.0.0.1:1", "--config", "/nonexistent/agent.toml"]), 2);
        assert_eq!(status(&["verify", "--data-dir", folder]), 2, "looking makes no store");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
        assert_eq!(status(&["bogus"]), 2);
    }

    #[test]
    fn who_lost_password_or_second_factor_gets_back_in_at_the_console() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let folder = data_dir.to_str().unwrap();
        let config = load(None, Some(folder.to_owned()), None).map_err(|_| "refused").unwrap().config;
        let opened = || open_store(&config).map_err(|_| "does not open").unwrap().0;
        let at = Timestamp(1_790_000_000_000);
        let factor = SecondFactor { enabled_at: Some(at), ..SecondFactor::begun(vec![1]) };
        let user = User {
            id: UserId::parse("user_ada").unwrap(),
            username: "ada".into(),
            role: Role::SuperAdmin,
            password: PasswordHash { salt: [0; 16], hash: [0; 32] },
            disabled: false,
            created_at: at,
            updated_at: at,
            second_factor: Some(factor),
        };
        let store = opened();
        let now = Clock::system(config.clock.trust, Timestamp(0)).now();
        store.core.write_now(move |tx| people::create_first(tx, &user, &Act::system(now))).unwrap();
        store.close();
        drop(store);
        let file = dir.path().join("password");
        let reset = |name: &str, password: &str| {
            std::fs::write(&file, password).unwrap();
            status(&["users", "reset-password", "--data-dir", folder, "--password-file", file.to_str().unwrap(), name])
        };
        assert_eq!((reset("ada", "too short\n"), reset("eve", "a new long password\n")), (2, 1));
        assert_eq!(reset("ADA", "a new long password\n"), 0);
        assert_eq!(status(&["users", "reset-totp", "--data-dir", folder, "ada"]), 0);
        assert_eq!(status(&["users", "reset-totp", "--data-dir", folder, "ada"]), 1, "there is none any more");
        let store = opened();
        let ada = people::user_by_name(&store.read().unwrap(), "ada").unwrap().unwrap();
        assert_eq!((ada.second_factor, crypto::stretch("a new long password", &ada.password.salt).0), (None, ada.password.hash));
        let newest = audit::page(&store.read().unwrap(), 0, 2).unwrap();
        let told: Vec<_> = newest.iter().map(|e| (e.draft.operation.as_str(), e.draft.actor.clone())).collect();
        assert_eq!(told, [("totp.reset", Actor::Console), ("user.update", Actor::Console)]);
        store.close();
    }

    #[test]
    fn accepting_the_clock_lowers_a_poisoned_mark_and_is_audited() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let folder = data_dir.to_str().unwrap();
        let config = load(None, Some(folder.to_owned()), None).map_err(|_| "refused").unwrap().config;
        let opened = || open_store(&config).map_err(|_| "does not open").unwrap();
        let poisoned = {
            let (store, clock) = opened();
            let future = clock.now().wall.plus_seconds(86_400 * 3_650);
            store.hot.write_now(move |tx| hot::accept_clock(tx, future, None)).unwrap();
            store.close();
            future
        };
        assert_eq!(opened().1.high_water(), poisoned);
        assert_eq!(status(&["clock", "status", "--data-dir", folder]), 0);
        assert_eq!(status(&["clock", "accept", "--data-dir", folder]), 0);
        let (store, clock) = opened();
        assert!(clock.high_water() < poisoned && clock.now().wall >= clock.high_water());
        let newest = audit::page(&store.read().unwrap(), 0, 1).unwrap().remove(0);
        assert_eq!((newest.draft.operation.as_str(), newest.draft.actor), ("clock.accept", Actor::Console));
        store.close();
        drop(store);
        assert_eq!(status(&["verify", "--data-dir", folder, "--json"]), 0);
    }

    #[test]
    fn accepting_the_clock_does_not_hide_how_old_a_store_is() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let folder = data_dir.to_str().unwrap();
        let config = load(None, Some(folder.to_owned()), None).map_err(|_| "refused").unwrap().config;
        let opened = || open_store(&config).map_err(|_| "does not open").unwrap().0;
        let absence = || {
            let store = opened();
            let absence = money::absence(&store.read().unwrap()).unwrap();
            store.close();
            absence
        };
        drop(opened());
        assert_eq!(status(&["clock", "accept", "--data-dir", folder]), 0);
        assert_eq!(absence(), None, "a store that knows of no wallet has nothing to have forgotten");
        let written_until = Timestamp(1_790_000_000_000);
        let store = opened();
        let wallet = |name: &str| Pin { gateway: name.into(), network: name.into(), wallet: name.into(), contract: name.into() };
        let paid_from = WalletRow { through_block: 7, ..WalletRow::default() };
        store.core.write_now(move |tx| money::put_wallet(tx, &wallet("one"), &paid_from)).unwrap();
        store.hot.write_now(move |tx| hot::accept_clock(tx, written_until, None)).unwrap();
        store.close();
        drop(store);
        // Twice, because the second one finds a mark that looks fresh.
        for _ in 0..2 {
            assert_eq!(status(&["clock", "accept", "--data-dir", folder]), 0);
            assert_eq!(absence(), Some(Absence { written_until, looked_at: None }));
        }
        // The manager starts on that mark, and believes it no more.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let app = runtime.block_on(app::App::open(&config, &app::system_clock)).unwrap();
        assert_eq!(money::absence(&app.store.read().unwrap()).unwrap().map(|absence| absence.written_until), Some(written_until));
        app.store.close();
    }
}
