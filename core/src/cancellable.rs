//! Long computations that can be cancelled: the caller drops the future, and the computation ends at its next await.

use std::{future::poll_fn, task::Poll};

/// Yields once to other futures of the same task, such as one that waits for a command to stop.
pub async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Computes on another thread. If the future is dropped, the thread still finishes, and its result is discarded. In the
/// browser it computes on the same thread.
pub async fn on_thread<R: Send + 'static>(compute: impl FnOnce() -> R + Send + 'static) -> R {
    #[cfg(not(target_family = "wasm"))]
    {
        let (send, result) = futures::channel::oneshot::channel();
        std::thread::spawn(move || drop(send.send(compute())));
        result.await.expect("the thread ends with a result, or with a panic that it has printed")
    }
    #[cfg(target_family = "wasm")]
    compute()
}
