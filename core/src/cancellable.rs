//! Long computations that can be cancelled: whoever waits for one drops its future, which then ends at its next await.

use std::{future::poll_fn, task::Poll};

/// Lets others that the same task waits for, such as a command to stop, have their turn.
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

/// Computes on another thread, which finishes in vain if the future is dropped. In the browser it computes at once.
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
