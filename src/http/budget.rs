//! One budget for the request bytes in memory, so that a flood of large bodies keeps the process small.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::problem::{Problem, Slug};

/// What is left of `max_inflight_bytes`.
#[derive(Clone, Debug)]
pub struct ByteBudget {
    left: Arc<AtomicUsize>,
}

/// Bytes taken from the budget; they go back when it is dropped.
#[derive(Debug)]
pub struct ByteHold {
    left: Arc<AtomicUsize>,
    bytes: usize,
}

impl ByteBudget {
    pub fn new(bytes: usize) -> ByteBudget {
        ByteBudget { left: Arc::new(AtomicUsize::new(bytes)) }
    }
    /// A hold on nothing yet.
    pub fn hold(&self) -> ByteHold {
        ByteHold { left: Arc::clone(&self.left), bytes: 0 }
    }
    /// Bytes that can still be taken.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl ByteHold {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// `queue-full` 503 when the budget has not that many left; nothing is taken then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let taken = self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map_err(|_| {
            Problem::new(Slug::QueueFull, "Too many request bytes are in memory already; try again in a moment.")
        })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Everything it holds, moved out of it.
    pub fn take(&mut self) -> ByteHold {
        ByteHold { left: Arc::clone(&self.left), bytes: std::mem::take(&mut self.bytes) }
    }

    /// Gives `bytes` of what it holds back.
    pub fn shrink(&mut self, bytes: usize) {
        let back = bytes.min(self.bytes);
        self.bytes -= back;
        self.left.fetch_add(back, Ordering::Relaxed);
    }
}

impl Drop for ByteHold {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_exactly() {
        let budget = ByteBudget::new(100);
        let mut first = budget.hold();
        let mut second = budget.hold();
        first.grow(60).expect("60 of 100");
        assert_eq!(second.grow(41).expect_err("only 40 are left").status, 503);
        second.grow(40).expect("40 of 40");
        second.shrink(10);
        assert_eq!(budget.left(), 10);
        drop((first, second));
        assert_eq!(budget.left(), 100);
    }
}
