//! Where the workload asks for the present challenge and hands in what it made: a Unix socket in the agent's folder, for the agent's user alone. One JSON
//! object a line, one answer to each. The agent knows what to sign and keeps trying until the slot takes no answers any more; reporting goes on beside it
//! and waits for nothing here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use super::client::{Client, ClientError};
use super::clock::Clock;
use super::schedule::{Anchor, Backoff};
use super::state::Enrolled;
use crate::crypto::{Entropy, SigningKey, hex, sha256, unhex};
use crate::domain::output::{MAX_OUTPUT_BYTES, MAX_OUTPUT_CHARACTERS, MIN_OUTPUT_BYTES, bound_hash};
use crate::domain::time::{BootMs, SLOT_MS, Slot, Timestamp};
use crate::wire::{self, OutputRequest, OutputVerdict, SlotChallenge};

/// In the agent's folder.
pub const SOCKET_FILE: &str = "agent.sock";
/// Variable of the workload that names the socket.
pub const SOCKET_VARIABLE: &str = "LUCID_AGENT_SOCKET";
/// Workloads that may be connected at one time.
const MAX_CLIENTS: usize = 8;
/// Bytes of one line: an output of 1 MB in base64 and what stands around it.
const MAX_LINE: usize = MAX_OUTPUT_CHARACTERS + 1_024;
/// Longest wait for a challenge.
const MAX_WAIT_MS: u64 = 600_000;
/// How long an output that answers no challenge is tried for.
const TRIED_FOR_MS: i64 = 90_000;
/// Before another try to listen, or to accept.
const PAUSE: Duration = Duration::from_secs(5);

/// A challenge, with the time until which it can be answered by the boot clock of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub slot: Slot,
    pub challenge: [u8; 32],
    pub until: BootMs,
}

impl Asked {
    /// `sent_at` is when the report was sent that this came back with: it is no later than the moment from which the manager counts.
    pub fn of(challenge: &SlotChallenge, sent_at: BootMs) -> Option<Asked> {
        let bytes = unhex(&challenge.challenge)?.try_into().ok()?;
        let left_ms = i64::try_from(challenge.expires_in_ms).ok()?;
        Some(Asked { slot: challenge.slot, challenge: bytes, until: BootMs(sent_at.0.saturating_add(left_ms)) })
    }
}

/// What the manager said that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub anchor: Option<Anchor>,
    /// What can still be answered, and whether it was.
    asked: BTreeMap<Slot, (Asked, bool)>,
}

impl Known {
    /// The manager asks until it has an answer: the same may be told again.
    pub fn hear(&mut self, asked: Option<Asked>, now: BootMs) {
        self.asked.retain(|_, (asked, _)| now < asked.until);
        if let Some(asked) = asked {
            self.asked.entry(asked.slot).or_insert((asked, false));
        }
    }

    fn answered(&mut self, slot: Slot) {
        if let Some((_, is_answered)) = self.asked.get_mut(&slot) {
            *is_answered = true;
        }
    }

    /// The newest challenge that waits for an answer.
    fn open(&self, now: BootMs) -> Option<&Asked> {
        self.asked.values().rev().find(|(asked, is_answered)| !is_answered && now < asked.until).map(|(asked, _)| asked)
    }

    /// What was asked in `slot`, while it can be answered.
    fn of(&self, slot: Slot, now: BootMs) -> Option<&Asked> {
        self.asked.get(&slot).map(|(asked, _)| asked).filter(|asked| now < asked.until)
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Challenge {
        #[serde(default)]
        wait_ms: u64,
    },
    Submit {
        output_data: String,
        #[serde(default)]
        challenge_slot: Option<u32>,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// None: nothing is asked at present.
    Challenge(Option<SlotChallenge>),
    Verdict(OutputVerdict),
    Error(String),
}

/// All that serving a workload takes.
#[derive(Clone)]
pub struct Desk {
    pub path: PathBuf,
    pub clock: Clock,
    pub entropy: Entropy,
    pub client: Arc<Client>,
    pub key: Arc<SigningKey>,
    pub enrolled: Arc<Enrolled>,
    pub known: watch::Sender<Known>,
}

/// The socket of an agent whose folder this is.
pub fn socket_path(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).join(SOCKET_FILE)
}

impl Desk {
    /// Works for ever. An agent that cannot listen reports all the same.
    pub async fn work(self) {
        // Clients end with this future, and the agent has one thread.
        let local = LocalSet::new();
        local.run_until(self.accept()).await;
    }

    async fn accept(self) {
        let mut clients = JoinSet::new();
        let mut complaint = None;
        loop {
            let listener = match listen(&self.path) {
                Ok(listener) => listener,
                Err(error) => {
                    let text = error.to_string();
                    if complaint.as_ref() != Some(&text) {
                        tracing::warn!(%error, path = %self.path.display(), "no workload can hand in outputs");
                        complaint = Some(text);
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            loop {
                while clients.len() >= MAX_CLIENTS {
                    clients.join_next().await;
                }
                tokio::select! {
                    _ = clients.join_next(), if !clients.is_empty() => (),
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            let desk = self.clone();
                            clients.spawn_local(async move {
                                if let Err(error) = desk.serve(stream).await {
                                    tracing::debug!(%error, "a workload went away");
                                }
                            });
                        }
                        Err(error) => {
                            tracing::warn!(%error, "a workload could not connect");
                            tokio::time::sleep(PAUSE).await;
                            break;
                        }
                    },
                }
            }
        }
    }

    async fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            (&mut read).take(limit).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Ok(());
            }
            let is_whole = line.ends_with(b"\n") || line.len() < MAX_LINE;
            let answer = if is_whole { self.answer(&line).await } else { Answer::Error(format!("a line has at most {MAX_LINE} bytes")) };
            let mut text = serde_json::to_vec(&answer)?;
            text.push(b'\n');
            write.write_all(&text).await?;
            if !is_whole {
                return Ok(());
            }
        }
    }

    async fn answer(&self, line: &[u8]) -> Answer {
        match serde_json::from_slice(line) {
            Ok(Line::Challenge { wait_ms }) => Answer::Challenge(self.challenge(wait_ms.min(MAX_WAIT_MS)).await),
            Ok(Line::Submit { output_data, challenge_slot }) => {
                self.submit(output_data, challenge_slot.map(Slot)).await.map_or_else(Answer::Error, Answer::Verdict)
            }
            Err(error) => Answer::Error(format!("not understood: {error}")),
        }
    }

    /// The challenge that waits for an answer; waits for one, if there is none.
    async fn challenge(&self, wait_ms: u64) -> Option<SlotChallenge> {
        let mut known = self.known.subscribe();
        let clock = self.clock.clone();
        let found = known.wait_for(|known| known.open(clock.boot()).is_some());
        // Looked at once in any case, then whenever a report was answered.
        let found = tokio::time::timeout(Duration::from_millis(wait_ms), found).await.ok()?.ok()?;
        let now = self.clock.boot();
        let asked = found.open(now)?;
        let expires_in_ms = u64::try_from(asked.until.0 - now.0).unwrap_or(0);
        Some(SlotChallenge { slot: asked.slot, challenge: hex(&asked.challenge), expires_in_ms })
    }

    /// Signs an output and hands it in until there is a verdict, or no time left for one.
    async fn submit(&self, output_data: String, challenge_slot: Option<Slot>) -> Result<OutputVerdict, String> {
        let data = BASE64.decode(output_data.as_bytes()).map_err(|_| "output_data is not base64 with padding".to_owned())?;
        if !(MIN_OUTPUT_BYTES..=MAX_OUTPUT_BYTES).contains(&data.len()) {
            return Err(format!("an output has {MIN_OUTPUT_BYTES} to {MAX_OUTPUT_BYTES} bytes"));
        }
        let now = self.clock.boot();
        let known = self.known.borrow().clone();
        let (hash, until) = match challenge_slot {
            None => (sha256(&data), BootMs(now.0 + TRIED_FOR_MS)),
            Some(slot) => {
                let asked = known.of(slot, now).ok_or("this challenge is over, or there was none in that slot")?;
                (bound_hash(&asked.challenge, &data), asked.until)
            }
        };
        drop(data);
        let anchor = known.anchor.ok_or("the manager has not answered yet")?;
        let request = OutputRequest {
            protocol: wire::PROTOCOL,
            output_data,
            output_hash: Some(hex(&hash)),
            timestamp: time_at(&anchor, now).rfc3339(),
            nonce: hex(&self.entropy.bytes::<16>()),
            challenge_slot,
        };
        let verdict = self.deliver(&request, until).await?;
        if let Some(slot) = challenge_slot.filter(|_| verdict.is_valid) {
            self.known.send_modify(|known| known.answered(slot));
        }
        Ok(verdict)
    }

    async fn deliver(&self, request: &OutputRequest, until: BootMs) -> Result<OutputVerdict, String> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.client.output(&self.key, &self.enrolled, request).await {
                Ok(verdict) => return Ok(verdict),
                Err(error @ ClientError::Refused { .. }) => return Err(error.to_string()),
                Err(error) => error,
            };
            let wait_ms = match &error {
                ClientError::Busy { retry_after_seconds } => retry_after_seconds.saturating_mul(1_000),
                _ => backoff.next_ms(self.entropy.u64()),
            };
            if self.clock.boot().0.saturating_add(wait_ms) >= until.0 {
                return Err(format!("no verdict in time: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))).await;
        }
    }
}

/// The manager's time, which this machine's own clock need not know.
fn time_at(anchor: &Anchor, now: BootMs) -> Timestamp {
    let slot = anchor.slot_at(now);
    slot.start().plus_ms((now.0 - anchor.start_of(slot).0).clamp(0, SLOT_MS - 1))
}

/// What an earlier agent left is nobody's any more: the folder is locked.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(slot: u32, until: i64) -> Asked {
        Asked { slot: Slot(slot), challenge: [7; 32], until: BootMs(until) }
    }

    #[test]
    fn a_challenge_is_open_until_it_is_answered_or_over() {
        let mut known = Known::default();
        known.hear(Some(asked(5, 1_000)), BootMs(0));
        let open = |known: &Known, now| known.open(BootMs(now)).map(|asked| asked.slot.0);
        assert_eq!([open(&known, 999), open(&known, 1_000)], [Some(5), None]);
        // Blocks meet: two of them may ask one after the other.
        known.hear(Some(asked(6, 1_030)), BootMs(30));
        assert_eq!([open(&known, 30), open(&known, 1_000), open(&known, 1_030)], [Some(6), Some(6), None]);
        assert!(known.of(Slot(5), BootMs(999)).is_some() && known.of(Slot(5), BootMs(1_000)).is_none());
        known.answered(Slot(6));
        assert_eq!(open(&known, 30), Some(5), "the older one still waits");
        known.hear(Some(asked(5, 1_000)), BootMs(60));
        known.answered(Slot(5));
        known.hear(Some(asked(5, 1_000)), BootMs(90));
        assert_eq!(open(&known, 90), None, "an answer that crossed the report is one");
        known.hear(None, BootMs(1_030));
        assert_eq!(known, Known::default(), "what is over is forgotten");
    }

    #[test]
    fn time_is_the_managers() {
        let anchor = Anchor { slot: Slot(100), start: BootMs(7_000) };
        assert_eq!(time_at(&anchor, BootMs(7_000)), Slot(100).start());
        assert_eq!(time_at(&anchor, BootMs(7_000 + 61_500)), Slot(102).start().plus_ms(1_500));
        assert_eq!(time_at(&anchor, BootMs(6_999)), Slot(99).start().plus_ms(29_999));
    }

    #[test]
    fn lines_are_what_the_readme_says() {
        let line = |text: &str| serde_json::from_str::<Line>(text);
        assert!(matches!(line(r#"{"ask":"challenge"}"#), Ok(Line::Challenge { wait_ms: 0 })));
        assert!(matches!(line(r#"{"ask":"challenge","wait_ms":5000}"#), Ok(Line::Challenge { wait_ms: 5_000 })));
        let submit = line(r#"{"ask":"submit","output_data":"AAAA","challenge_slot":7}"#);
        assert!(matches!(submit, Ok(Line::Submit { challenge_slot: Some(7), .. })));
        assert!(line(r#"{"ask":"fly"}"#).is_err() && line("nonsense").is_err());
        let answer = |answer: Answer| serde_json::to_string(&answer).unwrap();
        assert_eq!(answer(Answer::Challenge(None)), r#"{"challenge":null}"#);
        assert_eq!(answer(Answer::Error("no".into())), r#"{"error":"no"}"#);
        let challenge = SlotChallenge { slot: Slot(7), challenge: "ab".into(), expires_in_ms: 9 };
        assert_eq!(answer(Answer::Challenge(Some(challenge))), r#"{"challenge":{"slot":7,"challenge":"ab","expires_in_ms":9}}"#);
    }

    #[test]
    fn only_whole_challenges_are_taken() {
        let told = |text: &str| Asked::of(&SlotChallenge { slot: Slot(1), challenge: text.into(), expires_in_ms: 100 }, BootMs(5));
        assert_eq!(told(&"07".repeat(32)), Some(asked(1, 105)));
        assert_eq!([told("07"), told("zz")], [None, None]);
    }
}
