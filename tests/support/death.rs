//! A manager that dies in the middle of something: what it had committed stands, and the rest never happened.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// What it came to. With `waits`, it is dropped when it has waited for anything so many times, and there is nothing.
pub async fn unless_it_dies<F: Future>(future: F, waits: Option<u64>) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), waits);
    poll_fn(move |context: &mut Context<'_>| match (future.as_mut().poll(context), left.as_mut()) {
        (Poll::Ready(done), _) => Poll::Ready(Some(done)),
        (Poll::Pending, Some(0)) => Poll::Ready(None),
        (Poll::Pending, Some(left)) => {
            *left -= 1;
            Poll::Pending
        }
        (Poll::Pending, None) => Poll::Pending,
    })
    .await
}
