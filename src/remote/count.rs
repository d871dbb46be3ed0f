//! How many requests a call took: what it sent besides the one that was paid for before is owed to the budget afterwards. It
//! cannot be waited for in between, because a write is sent right after its intent or not at all.

use std::cell::Cell;

tokio::task_local! {
    static SENT: Cell<u32>;
}

/// Carries a call out and counts its requests, logins and retries included.
pub async fn counted<F: Future>(call: F) -> (F::Output, u32) {
    SENT.scope(Cell::new(0), async {
        let output = call.await;
        (output, SENT.with(Cell::get))
    })
    .await
}

/// A request is sent.
pub(super) fn sent() {
    // Nobody counts the pages of a list, which are paid for one by one.
    let _ = SENT.try_with(|count| count.set(count.get().saturating_add(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_in_one_task_are_counted_apart() {
        let call = async |requests: u32| {
            for _ in 0..requests {
                sent();
                tokio::task::yield_now().await;
            }
        };
        let (((), one), ((), three)) = tokio::join!(counted(call(1)), counted(call(3)));
        assert_eq!((one, three), (1, 3));
        sent();
    }
}
