//! The manager's end of the signer's socket. It believes no answer that it can check.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::core::described;
use super::keystore::Passphrase;
use super::protocol::{Answer, Refusal, Refused, Request, SignRequest, Signed, Status, Wallet, fits, frame};

/// For answers that take one commit to the disk.
const PATIENCE: Duration = Duration::from_secs(15);
/// For unlocking: Argon2id on a slow machine.
const UNLOCK_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// Nobody answers, or not in time. A request to sign may have been carried out: ask the same again.
    Unreachable(String),
    Locked,
    Refused(Box<Refused>),
    /// An answer that no signer of ours gives.
    Protocol(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable(why) => write!(f, "the signer cannot be reached: {why}"),
            ClientError::Locked => f.write_str("the wallet is locked"),
            ClientError::Refused(refused) => write!(f, "the signer refuses ({}): {}", refused.name, refused.message),
            ClientError::Protocol(why) => write!(f, "the signer's answer makes no sense: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A signer behind a socket; each call is a connection of its own.
#[derive(Debug, Clone)]
pub struct SignerClient {
    socket: PathBuf,
}

impl SignerClient {
    pub fn new(socket: &Path) -> SignerClient {
        SignerClient { socket: socket.to_owned() }
    }

    pub async fn status(&self) -> Result<Status, ClientError> {
        match self.call(&Request::Status, PATIENCE).await? {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    pub async fn unlock(&self, passphrase: Passphrase) -> Result<(), ClientError> {
        self.done(&Request::Unlock { passphrase }, UNLOCK_PATIENCE).await
    }

    pub async fn lock(&self) -> Result<(), ClientError> {
        self.done(&Request::Lock, PATIENCE).await
    }

    /// The signed transaction of this very request, of the key of `wallet`.
    pub async fn sign(&self, wallet: &Wallet, request: SignRequest) -> Result<Signed, ClientError> {
        let answer = self.call(&Request::Sign(Box::new(request.clone())), PATIENCE).await?;
        judge(wallet, &request, answer)
    }

    async fn done(&self, request: &Request, patience: Duration) -> Result<(), ClientError> {
        match self.call(request, patience).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn call(&self, request: &Request, patience: Duration) -> Result<Answer, ClientError> {
        let message = frame(request).map_err(|error| ClientError::Protocol(error.to_string()))?;
        match timeout(patience, exchange(&self.socket, message)).await {
            Ok(Ok(text)) => serde_json::from_slice(&text).map_err(|error| ClientError::Protocol(error.to_string())),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => Err(ClientError::Protocol("an answer beyond all bounds".into())),
            Ok(Err(error)) => Err(ClientError::Unreachable(error.to_string())),
            Err(_) => Err(ClientError::Unreachable("no answer in time".into())),
        }
    }
}

async fn exchange(socket: &Path, message: Zeroizing<Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&message).await?;
    let length = stream.read_u32().await?;
    if !fits(length) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    stream.read_exact(&mut text).await?;
    Ok(text)
}

/// Holds an answer to a request to sign against that request.
pub fn judge(wallet: &Wallet, request: &SignRequest, answer: Answer) -> Result<Signed, ClientError> {
    match answer {
        Answer::Signed(signed) => {
            let same = signed.transfer == described(wallet, request);
            let asked = same && signed.payout_id == request.payout_id && signed.attempt == request.attempt;
            match (asked, signed.is_sound(wallet.key)) {
                (true, true) => Ok(*signed),
                (false, _) => Err(ClientError::Protocol("another transaction than the one that was asked for".into())),
                (true, false) => Err(ClientError::Protocol("bytes, id and signature do not go together".into())),
            }
        }
        Answer::Refused(refused) => match refused.existing.as_deref() {
            Some(existing) if existing.payout_id != request.payout_id || !existing.is_sound(wallet.key) => {
                Err(ClientError::Protocol("the transaction that is said to exist is none of this payout and wallet".into()))
            }
            _ => Err(refusal(refused)),
        },
        other => Err(unexpected(other)),
    }
}

fn refusal(refused: Box<Refused>) -> ClientError {
    if refused.name == Refusal::Locked { ClientError::Locked } else { ClientError::Refused(refused) }
}

fn unexpected(answer: Answer) -> ClientError {
    match answer {
        Answer::Refused(refused) => refusal(refused),
        _ => ClientError::Protocol("the answer to something else".into()),
    }
}
