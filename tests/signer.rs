//! The wallet and the signer through the command line and the socket, as the manager and people use them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lucid::clock::{Clock, Stopwatch};
use lucid::crypto::{SecretKey, StretchCost, sha256, unhex};
use lucid::domain::address::TronAddress;
use lucid::domain::ids::PayoutId;
use lucid::domain::time::{Timestamp, TrustPolicy};
use lucid::gateways::payment::signer::{
    Caps, ClientError, Fresh, Keystore, LOG_FILE, Launch, Passphrase, Refusal, Resolution, SignRequest, Signed, SignerChild, SignerClient,
    Wallet,
};
use lucid::gateways::payment::tron::{ReferenceBlock, WalletKey};
use serde_json::Value;
use zeroize::ZeroizeOnDrop;

use crate::support::binary::{BINARY, Process, eventually};
use crate::support::random::Random;

const ADDRESS: &str = "TRRnbVkcAdWFDmqUJWRht41RneEvv7rqv3";
const PRIVATE_KEY: &str = "cf9fac0fde6c5d4dc0833a6c47f163c921000921118ae669d9d4b218d05dd4ab";
const USDT: &str = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t";
const PAYEE: &str = "TSBJwRsyWccxj5tcS8tHGqAm79xQMLjA79";
const WORDS: &str = "correct horse";
const CHEAP: StretchCost = StretchCost { memory_kib: 64, passes: 1, lanes: 1 };

/// What may open or be the key is wiped when it is dropped: without that, this does not compile.
const _: () = {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Passphrase>();
    wiped::<SecretKey>();
    wiped::<WalletKey>();
};

fn lucid(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).env_remove("CREDENTIALS_DIRECTORY").output().unwrap()
}

/// Exit status and what was printed.
fn told(output: &Output) -> (i32, String) {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    (output.status.code().unwrap(), String::from_utf8(text.clone()).unwrap().trim().to_owned())
}

fn tron(text: &str) -> TronAddress {
    TronAddress::parse(text).unwrap()
}

fn now_ms() -> i64 {
    Clock::system(TrustPolicy::Always, Timestamp(0)).now().wall.0
}

/// A folder with a keystore and its passphrase, and what a signer on it is told.
struct Vault {
    dir: tempfile::TempDir,
    caps: Caps,
}

impl Vault {
    fn new() -> Vault {
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretKey(unhex(PRIVATE_KEY).unwrap().try_into().unwrap());
        let fresh = Fresh { salt: [1; 16], nonce: [2; 12] };
        Keystore::create(&dir.path().join("keystore"), &secret, &Passphrase::new(WORDS), CHEAP, fresh).unwrap();
        fs::write(dir.path().join("passphrase"), WORDS).unwrap();
        let caps = Caps { max_payout: 100_000_000, max_24h: 250_000_000, max_fee_sun: 30_000_000, contracts: vec![tron(USDT)] };
        Vault { dir, caps }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn client(&self) -> SignerClient {
        SignerClient::new(&self.path("socket"))
    }

    fn command(&self, unlocked: bool) -> Command {
        self.command_at("socket", unlocked)
    }

    fn command_at(&self, socket: &str, unlocked: bool) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("signer").arg("--keystore").arg(self.path("keystore")).arg("--socket").arg(self.path(socket));
        command.arg("--state-dir").arg(self.path("state")).args(["--max-payout-usdt", "100", "--max-24h-usdt"]);
        command.arg((self.caps.max_24h / 1_000_000).to_string()).args(["--max-fee-sun", "30000000", "--contract", USDT]);
        if unlocked {
            command.arg("--passphrase-file").arg(self.path("passphrase"));
        }
        command.env_remove("CREDENTIALS_DIRECTORY").stdin(Stdio::null());
        command
    }

    fn start(&self, unlocked: bool) -> Process {
        listening(self.command(unlocked))
    }

    /// Every whole line after the first, read by nobody's code but this test's.
    fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state").join(LOG_FILE)).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap()["entry"].take()).collect()
    }
}

fn listening(mut command: Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "it is ready when it says so");
    Process(child)
}

fn wallet() -> Wallet {
    Wallet { account: tron(ADDRESS), key: tron(ADDRESS), permission_id: None }
}

fn request(payout: &str, attempt: u32, amount: u64, timestamp_ms: i64) -> SignRequest {
    let reference_number = 80_000_000u64;
    let mut id = [7; 32];
    id[..8].copy_from_slice(&reference_number.to_be_bytes());
    SignRequest {
        payout_id: PayoutId::parse(payout).unwrap(),
        attempt,
        to: tron(PAYEE),
        amount,
        contract: tron(USDT),
        reference: ReferenceBlock::from_block_id(&id),
        reference_number,
        expires_at_ms: timestamp_ms + 600_000,
        timestamp_ms,
        known_ms: i64::MAX,
        fee_limit_sun: 15_000_000,
        previous: Vec::new(),
    }
}

fn name_of(result: Result<Signed, ClientError>) -> Refusal {
    match result {
        Err(ClientError::Refused(refused)) => refused.name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wallet_is_made_imported_shown_and_sealed_anew_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (words, short, new) = (file("words", "correct horse\n"), file("short", "eleven char\n"), file("new", "battery staple\n"));
    let keystore = dir.path().join("made").to_str().unwrap().to_owned();
    let imported = dir.path().join("imported").to_str().unwrap().to_owned();

    let (code, why) = told(&lucid(&["wallet", "create", "--keystore", &keystore]));
    assert!(code == 2 && why.contains("terminal"), "{why}");
    let (code, why) = told(&lucid(&["wallet", "create", "--keystore", &keystore, "--passphrase-file", &short]));
    assert!(code == 2 && why.contains("12 characters"), "{why}");
    assert!(!Path::new(&keystore).exists());
    let (code, made) = told(&lucid(&["wallet", "create", "--keystore", &keystore, "--passphrase-file", &words]));
    assert!(code == 0 && TronAddress::parse(&made).is_ok(), "{made}");
    assert_eq!(fs::metadata(&keystore).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(told(&lucid(&["wallet", "address", "--keystore", &keystore])), (0, made));
    let before = fs::read(&keystore).unwrap();
    let (code, why) = told(&lucid(&["wallet", "create", "--keystore", &keystore, "--passphrase-file", &words]));
    assert!(code == 2 && why.contains("never overwritten") && fs::read(&keystore).unwrap() == before, "{why}");

    let wrong = file("key", &PRIVATE_KEY[1..]);
    let import =
        |key: &str| told(&lucid(&["wallet", "import", "--keystore", &imported, "--private-key-file", key, "--passphrase-file", &words]));
    assert_eq!(import(&wrong), (2, "lucid-node-management: a private key has 64 hex digits".into()));
    assert_eq!(import(&file("key", &format!("{PRIVATE_KEY}\n"))), (0, ADDRESS.into()));
    assert!(!fs::read_to_string(&imported).unwrap().contains(PRIVATE_KEY));

    let change = |old: &str| {
        let output =
            lucid(&["wallet", "change-passphrase", "--keystore", &imported, "--passphrase-file", old, "--new-passphrase-file", &new]);
        told(&output).0
    };
    assert_eq!((change(&new), change(&words), change(&words)), (2, 0, 2));
    assert_eq!(told(&lucid(&["wallet", "address", "--keystore", &imported])), (0, ADDRESS.into()));
    let opened = Keystore::read(Path::new(&imported)).unwrap().open(&Passphrase::new("battery staple"));
    assert_eq!(opened.unwrap().address().to_string(), ADDRESS);
}

/// The name of systemd's credential, as people write it into a unit.
const CREDENTIAL: &str = "wallet-passphrase";

#[tokio::test]
async fn a_signer_is_opened_by_the_credential_that_systemd_gives_it() {
    let vault = Vault::new();
    let credentials = vault.path("credentials");
    fs::create_dir(&credentials).unwrap();
    let command = |unlocked| {
        let mut command = vault.command(unlocked);
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        command
    };
    let is_unlocked = async || vault.client().status().await.unwrap().unlocked;
    // Credentials of other names are not its own.
    fs::write(credentials.join("passphrase"), WORDS).unwrap();
    let signer = listening(command(false));
    assert!(!is_unlocked().await);
    drop(signer);

    fs::write(credentials.join(CREDENTIAL), format!("{WORDS}\n")).unwrap();
    let signer = listening(command(false));
    assert!(is_unlocked().await);
    assert!(vault.client().sign(&wallet(), request("payout_a", 1, 1, now_ms())).await.is_ok());
    drop(signer);

    fs::write(credentials.join(CREDENTIAL), "wrong horse battery").unwrap();
    let (code, why) = told(&command(false).output().unwrap());
    assert!(code == 2 && why.contains("does not open"), "{why}");
    let _signer = listening(command(true));
    assert!(is_unlocked().await, "a file that is named comes before it");
}

#[test]
fn a_wallet_is_sealed_with_the_credential() {
    let dir = tempfile::tempdir().unwrap();
    let keystore = dir.path().join("keystore");
    fs::write(dir.path().join(CREDENTIAL), WORDS).unwrap();
    let wallet = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.arg("wallet").args(arguments).arg("--keystore").arg(&keystore).env("CREDENTIALS_DIRECTORY", dir.path());
        told(&command.stdin(Stdio::null()).output().unwrap())
    };
    let (code, why) = wallet(&["create"]);
    assert_eq!(code, 0, "{why}");
    assert!(Keystore::read(&keystore).unwrap().open(&Passphrase::new(WORDS)).is_ok());
    let new = dir.path().join("new");
    fs::write(&new, "battery staple").unwrap();
    let change = ["change-passphrase", "--new-passphrase-file", new.to_str().unwrap()];
    assert_eq!(wallet(&change).0, 0);
    let (code, why) = wallet(&change);
    assert!(code == 2 && why.contains("does not open"), "the credential is the old one: {why}");
}

/// Runs `wallet …` on a terminal of its own (`script` of util-linux makes one) and gives each answer once its question is there. Exit status, and all that the terminal
/// showed.
fn on_a_terminal(arguments: &[&str], answers: &[(&str, &str)]) -> (i32, String) {
    let quoted: Vec<String> = [&[BINARY, "wallet"], arguments].concat().iter().map(|word| format!("'{word}'")).collect();
    let mut command = Command::new("script");
    command.args(["-qec", &quoted.join(" "), "/dev/null"]).env_remove("CREDENTIALS_DIRECTORY");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script (util-linux) is there");
    let (mut input, mut output, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap(), Vec::new());
    let mut process = Process(child);
    let mut read_until = |ends: &dyn Fn(&str) -> bool| {
        let mut byte = [0];
        while !ends(&String::from_utf8_lossy(&shown)) && output.read(&mut byte).unwrap() == 1 {
            shown.push(byte[0]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    };
    for (question, answer) in answers {
        let so_far = read_until(&|shown| shown.ends_with(question));
        assert!(so_far.ends_with(question), "{question} is not asked: {so_far}");
        writeln!(input, "{answer}").unwrap();
    }
    let shown = read_until(&|_| false);
    (process.0.wait().unwrap().code().unwrap(), shown)
}

#[test]
fn passphrases_and_keys_are_asked_for_on_a_terminal_that_does_not_show_them() {
    let dir = tempfile::tempdir().unwrap();
    let keystore = dir.path().join("keystore").to_str().unwrap().to_owned();
    let run = |verb: &str, answers: &[(&str, &str)]| {
        let (code, shown) = on_a_terminal(&[verb, "--keystore", &keystore], answers);
        for (_, answer) in answers.iter().filter(|(_, answer)| !answer.is_empty()) {
            assert!(!shown.contains(answer), "{verb} shows {answer}: {shown}");
        }
        (code, shown)
    };
    const KEY: &str = "Private key (64 hex digits): ";
    const NEW: &str = "Passphrase of the new keystore: ";
    const AGAIN: &str = "The same again: ";
    let opens = |words: &str| Keystore::read(Path::new(&keystore)).unwrap().open(&Passphrase::new(words)).is_ok();

    let (code, shown) = run("import", &[(KEY, PRIVATE_KEY), (NEW, WORDS), (AGAIN, "incorrect horse")]);
    assert!(code == 2 && shown.contains("the two are not the same"), "{shown}");
    let (code, shown) = run("import", &[(KEY, PRIVATE_KEY), (NEW, "eleven char"), (AGAIN, "eleven char")]);
    assert!(code == 2 && shown.contains("12 characters"), "{shown}");
    let (code, shown) = run("import", &[(KEY, "")]);
    assert!(code == 2 && shown.contains("none was given"), "{shown}");
    assert!(!Path::new(&keystore).exists());
    let (code, shown) = run("import", &[(KEY, PRIVATE_KEY), (NEW, WORDS), (AGAIN, WORDS)]);
    assert!(code == 0 && shown.contains(ADDRESS) && opens(WORDS), "{shown}");

    let (code, shown) = run("change-passphrase", &[("Passphrase: ", "wrong horse battery")]);
    assert!(code == 2 && shown.contains("does not open") && opens(WORDS), "{shown}");
    let (code, shown) =
        run("change-passphrase", &[("Passphrase: ", WORDS), ("New passphrase: ", "battery staple"), (AGAIN, "battery staple")]);
    assert!(code == 0 && opens("battery staple") && !opens(WORDS), "{shown}");
}

#[tokio::test]
async fn a_signer_signs_once_for_each_payout_and_says_no_by_name() {
    let vault = Vault::new();
    let _signer = vault.start(true);
    let client = vault.client();
    let status = client.status().await.unwrap();
    assert_eq!((status.wallet, status.unlocked, status.spent_24h, status.payouts), (wallet(), true, 0, 0));
    assert_eq!((&status.caps, status.version.as_str()), (&vault.caps, env!("CARGO_PKG_VERSION")));
    assert_eq!(fs::metadata(vault.path("socket")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(vault.path("state")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(vault.path("state").join(LOG_FILE)).unwrap().permissions().mode() & 0o777, 0o600);

    let at = now_ms();
    let first = request("payout_a", 1, 60_000_000, at);
    let signed = client.sign(&wallet(), first.clone()).await.unwrap();
    assert_eq!(signed.txid.0, sha256(&signed.raw));
    assert_eq!(vault.log().len(), 1, "it was written down before it was answered");
    assert_eq!(client.sign(&wallet(), first.clone()).await.as_ref(), Ok(&signed), "the same request, the same answer");
    let Err(ClientError::Refused(refused)) = client.sign(&wallet(), request("payout_a", 2, 60_000_000, at + 1)).await else {
        panic!("it signed")
    };
    assert_eq!((refused.name, refused.existing.as_deref()), (Refusal::AlreadySigned, Some(&signed)));
    assert_eq!(vault.log().len(), 1);

    assert_eq!(name_of(client.sign(&wallet(), request("payout_b", 1, 100_000_001, at + 1)).await), Refusal::CapPerPayout);
    assert_eq!(name_of(client.sign(&wallet(), request("payout_b", 1, 5, at)).await), Refusal::TimestampNotIncreasing);
    client.sign(&wallet(), request("payout_b", 1, 100_000_000, at + 1)).await.unwrap();
    assert_eq!(name_of(client.sign(&wallet(), request("payout_c", 1, 90_000_001, at + 2)).await), Refusal::Cap24h);
    assert_eq!(client.status().await.unwrap().spent_24h, 160_000_000);
    let failed = Resolution::FailedOnChain { txid: signed.txid, block: 80_000_009, result: "OUT_OF_ENERGY".into() };
    let again = SignRequest { previous: vec![failed], ..request("payout_a", 2, 60_000_000, at + 2) };
    assert_ne!(client.sign(&wallet(), again).await.unwrap().txid, signed.txid);

    // Another wallet than the one that is asked for is noticed by the client, not believed.
    let other = Wallet { account: tron(PAYEE), ..wallet() };
    let mismatched = client.sign(&other, request("payout_d", 1, 1, at + 3)).await;
    assert!(matches!(mismatched, Err(ClientError::Protocol(_))), "{mismatched:?}");
}

#[tokio::test]
async fn a_locked_signer_signs_nothing_and_guesses_cost_time() {
    let vault = Vault::new();
    let _signer = vault.start(false);
    let client = vault.client();
    let ask = async || client.sign(&wallet(), request("payout_a", 1, 1, now_ms())).await;
    assert!(!client.status().await.unwrap().unlocked);
    assert_eq!(ask().await, Err(ClientError::Locked));
    client.unlock(Passphrase::new(WORDS)).await.unwrap();
    let signed = ask().await.unwrap();
    client.lock().await.unwrap();
    assert_eq!(client.sign(&wallet(), request("payout_b", 1, 1, now_ms())).await, Err(ClientError::Locked));
    assert!(
        client.sign(&wallet(), request("payout_a", 1, 1, signed.transfer.timestamp_ms)).await.is_ok(),
        "what is signed is told all the same"
    );
    let guess = async |words: &str| match client.unlock(Passphrase::new(words)).await {
        Err(ClientError::Refused(refused)) => (refused.name, refused.retry_after_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(guess("wrong horse battery").await, (Refusal::WrongPassphrase, None));
    let (name, wait) = guess(WORDS).await;
    assert!(name == Refusal::Throttled && wait.is_some_and(|ms| (1..=1_000).contains(&ms)), "even the right one waits: {wait:?}");
    eventually("the wait to be over", async || client.unlock(Passphrase::new(WORDS)).await.ok()).await;
    assert!(client.status().await.unwrap().unlocked);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_signer_goes_on() {
    let vault = Vault::new();
    let _signer = vault.start(true);
    let send = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(vault.path("socket")).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        serde_json::from_slice::<Value>(answer.get(4..).unwrap_or_default()).map(|answer| answer["name"].clone()).unwrap_or_default()
    };
    assert_eq!(send(b"\x00\x00\x00\x02{}"), "malformed");
    assert_eq!(send(b"\xff\xff\xff\xff"), "malformed", "too long");
    let raw = r#"{"request":"sign","raw":"0a02"}"#;
    assert_eq!(
        send(&[&u32::try_from(raw.len()).unwrap().to_be_bytes(), raw.as_bytes()].concat()),
        "malformed",
        "it takes no bytes to sign"
    );
    assert!(vault.client().status().await.is_ok());
}

#[tokio::test]
async fn one_signer_at_a_time_and_wrong_uses_are_told() {
    let vault = Vault::new();
    let signer = vault.start(true);
    let (code, why) = told(&vault.command_at("socket2", true).output().unwrap());
    assert!(code == 1 && why.contains("another signer uses"), "{why}");
    assert!(vault.client().status().await.is_ok(), "the first one goes on");
    drop(signer);
    fs::write(vault.path("passphrase"), "wrong horse battery").unwrap();
    let (code, why) = told(&vault.command(true).output().unwrap());
    assert!(code == 2 && why.contains("does not open"), "{why}");
    fs::write(vault.path("passphrase"), WORDS).unwrap();
    let text = fs::read_to_string(vault.path("state").join(LOG_FILE)).unwrap();
    fs::write(vault.path("state").join(LOG_FILE), text.replacen("\"number\":1", "\"number\":2", 1)).unwrap();
    let (code, why) = told(&vault.command(true).output().unwrap());
    assert!(code == 1 && why.contains("does not verify"), "{why}");
}

#[tokio::test]
async fn another_user_is_turned_away_unless_it_is_named() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: nobody else to be");
        return;
    }
    const NOBODY: u32 = 65_534;
    let vault = Vault::new();
    for path in [vault.dir.path().to_owned(), vault.path("keystore"), vault.path("passphrase")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let start = |allowed: &[&str]| {
        let mut command = vault.command(true);
        command.args(allowed).uid(NOBODY).gid(NOBODY);
        match command.stdout(Stdio::piped()).spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
            child => {
                let mut child = child.unwrap();
                BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
                Some(Process(child))
            }
        }
    };
    let Some(signer) = start(&[]) else {
        println!("nobody may not run the program where it is");
        return;
    };
    let status = vault.client().status().await;
    assert!(matches!(status, Err(ClientError::Unreachable(_))), "this is root, which is not the signer's user: {status:?}");
    drop(signer);
    let _signer = start(&["--allow-uid", "root"]);
    assert!(vault.client().status().await.is_ok());
    assert_eq!(fs::metadata(vault.path("socket")).unwrap().permissions().mode() & 0o777, 0o660);
}

#[tokio::test]
async fn a_child_is_started_again_and_ends_with_its_manager() {
    let vault = Vault::new();
    let (socket, state_dir) = Launch::below(vault.dir.path());
    fs::create_dir(&state_dir).unwrap();
    let launch = Launch {
        program: BINARY.into(),
        keystore: vault.path("keystore"),
        passphrase_file: Some(vault.path("passphrase")),
        socket: socket.clone(),
        state_dir,
        caps: vault.caps.clone(),
        account: None,
        permission_id: None,
    };
    let child = SignerChild::start(launch).unwrap();
    let client = SignerClient::new(&socket);
    let status = eventually("the signer", async || client.status().await.ok()).await;
    assert_eq!((status.caps, status.unlocked), (vault.caps.clone(), true));
    let pid = child.pid().unwrap();
    let killed = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let next = eventually("the next one", async || child.pid().filter(|next| *next != pid)).await;
    eventually("the signer again", async || client.status().await.ok()).await;
    drop(child);
    assert!(!Path::new(&format!("/proc/{next}")).exists(), "it ends with its manager");
    assert!(matches!(client.status().await, Err(ClientError::Unreachable(_))));
}

#[tokio::test]
async fn without_room_for_its_log_it_signs_nothing_and_loses_nothing() {
    let vault = Vault::new();
    let unbounded = vault.command(true);
    // Files end at 4 x 512 bytes, in the middle of a line.
    let mut bounded = Command::new("sh");
    bounded.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"]).arg(unbounded.get_program()).args(unbounded.get_args());
    bounded.stdin(Stdio::null()).env_remove("CREDENTIALS_DIRECTORY");
    let full = listening(bounded);
    let client = vault.client();
    let at = now_ms();
    let ask = async |n: u32| client.sign(&wallet(), request(&format!("payout_{n:08}"), 1, 1_000, at + i64::from(n))).await;
    let first = ask(1).await.unwrap();
    let mut signed = 1;
    let refusal = loop {
        match ask(signed + 1).await {
            Ok(_) => signed += 1,
            other => break name_of(other),
        }
    };
    assert_eq!((refusal, name_of(ask(signed + 1).await)), (Refusal::LogFull, Refusal::LogFull));
    assert_eq!(vault.log().len(), signed as usize);
    assert!(fs::read(vault.path("state").join(LOG_FILE)).unwrap().ends_with(b"\n"), "nothing is left of the line that did not fit");
    assert_eq!(ask(1).await.as_ref(), Ok(&first), "what was signed is told all the same");
    drop(full);
    let _signer = vault.start(true);
    assert_eq!(ask(1).await.as_ref(), Ok(&first));
    ask(signed + 1).await.unwrap();
}

/// Kills of the real process.
const KILLS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_no_payout_has_two_transactions_that_may_land() {
    let mut random = Random::new();
    let mut vault = Vault::new();
    vault.caps.max_24h = 250_000_000_000;
    let vault = Arc::new(vault);
    let done = Arc::new(AtomicBool::new(false));
    let asking = {
        let (client, done) = (vault.client(), done.clone());
        tokio::spawn(async move {
            let mut answered: HashMap<String, Vec<String>> = HashMap::new();
            let mut timestamp_ms = now_ms();
            let mut payout = 0u32;
            while !done.load(Ordering::Relaxed) {
                payout += 1;
                let id = format!("payout_{payout:08}");
                let mut attempt = 1;
                let mut previous = Vec::new();
                // A manager that remembers nothing but what it was answered: it makes every request anew.
                while !done.load(Ordering::Relaxed) {
                    timestamp_ms = now_ms().max(timestamp_ms + 1);
                    let asked = SignRequest { previous: previous.clone(), ..request(&id, attempt, 1_000, timestamp_ms) };
                    let signed = match client.sign(&wallet(), asked).await {
                        Ok(signed) => signed,
                        Err(ClientError::Refused(refused)) if refused.name == Refusal::AlreadySigned => *refused.existing.unwrap(),
                        Err(ClientError::Unreachable(_)) => continue,
                        Err(other) => panic!("{other}"),
                    };
                    answered.entry(id.clone()).or_default().push(signed.txid.to_string());
                    if !payout.is_multiple_of(3) || signed.attempt == 3 {
                        break;
                    }
                    // Every third payout fails on the chain, and fails again.
                    attempt = signed.attempt + 1;
                    previous = vec![Resolution::FailedOnChain { txid: signed.txid, block: 80_000_100, result: "REVERT".into() }];
                }
            }
            answered
        })
    };
    for _ in 0..KILLS {
        let mut signer = tokio::task::spawn_blocking({
            let vault = vault.clone();
            move || vault.start(true)
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_micros(random.within(0, 60_000))).await;
        signer.kill();
    }
    done.store(true, Ordering::Relaxed);
    let answered = asking.await.unwrap();

    let mut all: HashMap<String, Vec<(String, bool)>> = HashMap::new();
    for entry in vault.log() {
        let bytes = unhex(entry["transaction"].as_str().unwrap()).unwrap();
        // Field 1 is the raw transaction, behind a length of two bytes.
        let length = usize::from(bytes[1] & 0x7f) | usize::from(bytes[2]) << 7;
        let txid = lucid::crypto::hex(&sha256(&bytes[3..3 + length]));
        let known = all.entry(entry["payout_id"].as_str().unwrap().to_owned()).or_default();
        if let Some(resolved) = entry["resolved"]["txid"].as_str() {
            known.iter_mut().filter(|(txid, _)| txid == resolved).for_each(|(_, over)| *over = true);
        }
        known.push((txid, false));
    }
    for (payout, transactions) in &all {
        let live = transactions.iter().filter(|(_, over)| !over).count();
        assert_eq!(live, 1, "{payout}: {transactions:?}");
    }
    for (payout, txids) in &answered {
        let known: HashSet<_> = all[payout].iter().map(|(txid, _)| txid).collect();
        assert!(txids.iter().all(|txid| known.contains(txid)), "{payout}: what was answered is in the log");
    }
    let retried = all.values().filter(|transactions| transactions.len() > 1).count();
    println!("{} payouts over {KILLS} kills, {retried} of them tried again", all.len());
    assert!(all.len() > 20 && retried > 0);
    let signer = vault.start(true);
    assert_eq!(vault.client().status().await.unwrap().payouts, all.len() as u64);
    drop(signer);
}

/// `cargo test --test integration signatures_a_second -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn signatures_a_second() {
    let mut vault = Vault::new();
    vault.caps.max_24h = 250_000_000_000;
    let _signer = vault.start(true);
    let client = vault.client();
    let start = now_ms();
    let watch = Stopwatch::start();
    const COUNT: u32 = 1_000;
    for n in 0..COUNT {
        client.sign(&wallet(), request(&format!("payout_{n:08}"), 1, 1_000, start + i64::from(n))).await.unwrap();
    }
    let seconds = watch.elapsed().as_secs_f64();
    let bytes = fs::metadata(vault.path("state").join(LOG_FILE)).unwrap().len();
    println!(
        "{COUNT} signatures in {seconds:.2} s: {:.0} a second, {} bytes of log each",
        f64::from(COUNT) / seconds,
        bytes / u64::from(COUNT)
    );
}
