//! Has the process keep little more memory than it uses.

use std::time::Duration;

use tokio::sync::watch;

use crate::host;

const LOOK: Duration = Duration::from_secs(10);
/// What a process may grow by before it is worth the milliseconds.
const GROWN_BYTES: u64 = 8 << 20;

/// Gives back free memory after the start, and whenever the process has grown since.
pub async fn keep_small(mut stopping: watch::Receiver<bool>) {
    let mut before = 0;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let Some(present) = host::own_memory_bytes() else { return };
        if present <= before + GROWN_BYTES {
            before = present.min(before);
        } else if tokio::task::spawn_blocking(host::give_back_free_memory).await.is_ok() {
            before = host::own_memory_bytes().unwrap_or(present);
        }
    }
}
