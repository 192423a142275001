//! The memory budget of a job: one number that everybody who holds much memory counts into.
//!
//! It measures, it does not block. Writers close their largest files when it is exceeded; the pipeline pauses the
//! source. What is counted is what is held, so a [`Reservation`] is released by dropping it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that a job may hold, and holds.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    writers: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Budget { limit: bytes, used: AtomicUsize::new(0), writers: AtomicUsize::new(0) })
    }

    /// Bytes reserved now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be reserved.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether more is reserved than allowed.
    pub fn over(&self) -> bool {
        self.used() > self.limit
    }

    /// Counts bytes until the reservation is dropped. It never fails: memory that is held is counted, allowed or not.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Reservation {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation { budget: self.clone(), bytes }
    }

    /// What a writer stops closing files at.
    pub(crate) fn low_water(&self) -> usize {
        self.limit / 5 * 4
    }

    /// What one writer may keep even if others hold the rest: closing less would only make small files.
    pub(crate) fn writer_floor(&self) -> usize {
        self.limit / 4 / self.writers.load(Ordering::Relaxed).max(1)
    }

    pub(crate) fn join(self: &Arc<Self>) -> Membership {
        self.writers.fetch_add(1, Ordering::Relaxed);
        Membership(self.clone())
    }
}

/// A writer that shares the budget with others.
#[derive(Debug)]
pub(crate) struct Membership(Arc<Budget>);

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes counted in a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Bytes counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts so many bytes from now on.
    pub fn resize(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(60);
        let second = budget.reserve(60);
        assert!(budget.over());
        first.resize(30);
        assert_eq!((budget.used(), budget.over()), (90, false));
        drop(second);
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn writers_share_the_floor() {
        let budget = Budget::new(800);
        let one = budget.join();
        let two = budget.join();
        assert_eq!(budget.writer_floor(), 100);
        drop(one);
        assert_eq!(budget.writer_floor(), 200);
        drop(two);
    }
}
