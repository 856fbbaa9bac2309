//! Semaphores: so many may at once.

use super::raw_semaphore::{MOST, RawSemaphore};
use crate::interrupt::Interrupted;
use crate::wait::{Wait, WaitError};
use std::fmt;
use std::time::{Duration, Instant};

/// A number of permits. Who takes one has it until it is given back, and when there is none, waits for one.
///
/// A permit is given back by dropping the [`Permit`], or, if that was [forgotten](Permit::forget), by
/// [`release`](Semaphore::release), by anybody. Waiters are served in the order they came, but somebody who comes along
/// may be faster; who has waited for long gets the permits handed over, and for one that wants many they are put aside
/// until there are enough. An interrupted, timed-out or dropped acquire has taken no permit.
///
/// ```
/// use quell::{Semaphore, thread};
///
/// static AT_ONCE: Semaphore = Semaphore::new(2);
///
/// let threads: Vec<_> = (0..4)
///     .map(|_| thread::spawn(|| {
///         let _permit = AT_ONCE.acquire().unwrap();
///         assert!(AT_ONCE.value() < 2);
///     }))
///     .collect();
/// for thread in threads {
///     thread.join().unwrap();
/// }
/// assert_eq!(AT_ONCE.value(), 2);
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
}

/// A [`Semaphore`] that finds out if more is given back than was taken.
///
/// ```
/// use quell::BoundedSemaphore;
///
/// let semaphore = BoundedSemaphore::new(1);
/// semaphore.acquire().unwrap().forget();
/// semaphore.release(1).unwrap();
/// assert_eq!(
///     semaphore.release(1).unwrap_err().to_string(),
///     "1 permit given back to a semaphore that has all its 1: it was given back twice, or never taken"
/// );
/// ```
pub struct BoundedSemaphore {
    raw: RawSemaphore,
    bound: u32,
}

impl Semaphore {
    const_fn! {
        /// A semaphore with `permits` permits to begin with.
        ///
        /// # Panics
        /// If `permits` is 2³⁰ or more.
        pub fn new(permits: u32) -> Semaphore {
            Semaphore { raw: RawSemaphore::new(permits) }
        }
    }

    /// Gives `count` permits back, or adds them. Does not block, and is no interruption point.
    ///
    /// # Panics
    /// If there would be 2³⁰ or more.
    #[inline]
    #[track_caller]
    pub fn release(&self, count: u32) {
        if let Err(value) = self.raw.release(count, MOST) {
            panic!("release({count}) of a semaphore that has {value}: 2^30 - 1 permits at most");
        }
    }

    /// Gives `count` permits back, or adds them, unless there would then be more than `most`. Does not block, and is no
    /// interruption point. For who sets a bound of their own, or cannot afford a panic.
    ///
    /// # Errors
    /// If there would be more than `most`, or 2³⁰ or more. None is given back then.
    #[inline]
    pub fn release_within(&self, count: u32, most: u32) -> Result<(), OverRelease> {
        let bound = most.min(MOST);
        self.raw.release(count, bound).map_err(|value| OverRelease { count, value, bound })
    }

    fn most(&self) -> u32 {
        MOST
    }

    /// As new, with `permits` permits, whoever held some or waited. Only for the child of a fork, where no other thread
    /// is.
    pub fn reset_after_fork(&self, permits: u32) {
        assert!(permits <= MOST, "a semaphore has 2^30 - 1 permits at most");
        self.raw.reset(permits);
    }
}

impl BoundedSemaphore {
    const_fn! {
        /// A semaphore with `permits` permits, never more.
        ///
        /// # Panics
        /// If `permits` is 2³⁰ or more.
        pub fn new(permits: u32) -> BoundedSemaphore {
            BoundedSemaphore { raw: RawSemaphore::new(permits), bound: permits }
        }
    }

    /// Gives `count` permits back. Does not block, and is no interruption point.
    ///
    /// # Errors
    /// If there would be more than it had at first. None is given back then.
    #[inline]
    pub fn release(&self, count: u32) -> Result<(), OverRelease> {
        let bound = self.bound;
        self.raw.release(count, bound).map_err(|value| OverRelease { count, value, bound })
    }

    /// How many permits it has if nobody holds one.
    pub fn bound(&self) -> u32 {
        self.bound
    }

    fn most(&self) -> u32 {
        self.bound
    }

    /// As new, with all its permits, whoever held some or waited. Only for the child of a fork, where no other thread is.
    pub fn reset_after_fork(&self) {
        self.raw.reset(self.bound);
    }
}

/// What both have in common.
macro_rules! acquire {
    ($semaphore:ident) => {
        impl $semaphore {
            /// Takes a permit; waits for it if it must. An interruption point, if it has to wait.
            ///
            /// # Errors
            /// If the thread is interrupted; it then has no permit.
            #[inline]
            pub fn acquire(&self) -> Result<Permit<'_>, Interrupted> {
                self.acquire_many(1)
            }

            /// Takes a permit; waits for it for `time` at most. An interruption point, if it has to wait.
            ///
            /// # Errors
            /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]; the thread then has no permit.
            pub fn acquire_timeout(&self, time: Duration) -> Result<Permit<'_>, WaitError> {
                // The clock is not read unless there is a wait.
                match self.try_acquire() {
                    Some(permit) => Ok(permit),
                    None => self.acquire_with(&Wait::new().timeout(time)),
                }
            }

            /// Takes a permit; waits for it until `deadline` at most. An interruption point, if it has to wait.
            ///
            /// # Errors
            /// [`WaitError::TimedOut`], [`WaitError::Interrupted`]; the thread then has no permit.
            pub fn acquire_until(&self, deadline: Instant) -> Result<Permit<'_>, WaitError> {
                self.acquire_with(&Wait::new().until(deadline))
            }

            /// Takes a permit; waits for it as long as it takes. No interruption point: interrupts stay pending.
            pub fn acquire_uninterruptible(&self) -> Permit<'_> {
                match self.acquire_with(&Wait::new().shielded()) {
                    Ok(permit) => permit,
                    Err(other) => unreachable!("nothing else ends this wait: {other}"),
                }
            }

            /// Takes a permit; waits for it as `wait` says.
            ///
            /// # Errors
            /// As the options allow; the thread then has no permit.
            #[inline]
            pub fn acquire_with(&self, wait: &Wait) -> Result<Permit<'_>, WaitError> {
                self.acquire_many_with(1, wait)
            }

            /// Takes a permit as a task; waits for it if it must. No interruption point.
            ///
            /// Dropped before it is ready, the future has taken none, and if one was just handed to it, it goes to the
            /// next.
            pub async fn acquire_async(&self) -> Permit<'_> {
                self.acquire_many_async(1).await
            }

            /// Takes a permit, if there is one that is not put aside for who has waited for long. Does not block, and is
            /// no interruption point.
            #[inline]
            pub fn try_acquire(&self) -> Option<Permit<'_>> {
                self.try_acquire_many(1)
            }

            /// Takes `count` permits at once; waits for them if it must. An interruption point, if it has to wait.
            ///
            /// # Errors
            /// If the thread is interrupted; it then has no permit.
            ///
            /// # Panics
            /// If there never can be so many: it would wait for ever. The other forms do the same.
            #[inline]
            pub fn acquire_many(&self, count: u32) -> Result<Permit<'_>, Interrupted> {
                self.acquire_many_with(count, &Wait::new()).map_err(WaitError::only_interrupt)
            }

            /// Takes `count` permits at once; waits for them as `wait` says.
            ///
            /// # Errors
            /// As the options allow; the thread then has no permit.
            #[inline]
            pub fn acquire_many_with(
                &self,
                count: u32,
                wait: &Wait,
            ) -> Result<Permit<'_>, WaitError> {
                self.check(count);
                self.raw.acquire(count, wait).map(|()| self.permit(count))
            }

            /// Takes `count` permits at once, as a task; waits for them if it must. No interruption point.
            pub async fn acquire_many_async(&self, count: u32) -> Permit<'_> {
                self.check(count);
                self.raw.acquire_async(count).await;
                self.permit(count)
            }

            /// Takes `count` permits at once, if they are there and not put aside for who has waited for long. Does not
            /// block, and is no interruption point.
            #[inline]
            pub fn try_acquire_many(&self, count: u32) -> Option<Permit<'_>> {
                self.raw.try_acquire(count).then(|| self.permit(count))
            }

            /// How many permits nobody holds. Out of date as soon as it is known.
            pub fn value(&self) -> u32 {
                self.raw.value()
            }

            /// In the child of a fork: forgets who waited, since those threads do not exist here. The permits stay as
            /// they are, those that the other threads held included.
            pub fn forget_waiters_after_fork(&self) {
                self.raw.reset(self.raw.value());
            }

            /// Under whose lock the permits are handed over.
            #[cfg(not(any(quell_loom, quell_shuttle)))]
            pub(crate) fn queue(&self) -> &crate::wait::WaitQueue {
                self.raw.queue()
            }

            #[track_caller]
            #[inline]
            fn check(&self, count: u32) {
                let most = self.most();
                assert!(count <= most, "{count} of {most} permits: would wait for ever");
            }

            #[inline]
            fn permit(&self, count: u32) -> Permit<'_> {
                Permit { raw: &self.raw, count, most: self.most() }
            }
        }

        impl fmt::Debug for $semaphore {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($semaphore))
                    .field("value", &self.value())
                    .field("waited_for", &self.raw.has_waiters())
                    .finish_non_exhaustive()
            }
        }
    };
}

acquire!(Semaphore);
acquire!(BoundedSemaphore);

/// Permits of a [`Semaphore`] or [`BoundedSemaphore`]. Dropping it gives them back. It may be dropped in another thread.
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'a> {
    raw: &'a RawSemaphore,
    count: u32,
    most: u32,
}

impl<'a> Permit<'a> {
    /// How many permits.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Keeps them taken, until somebody calls `release`.
    pub fn forget(self) {
        std::mem::forget(self);
    }

    /// Splits `count` of them off. `None`: it does not have so many.
    ///
    /// ```
    /// let semaphore = quell::Semaphore::new(3);
    /// let mut three = semaphore.acquire_many(3).unwrap();
    /// let one = three.split(1).unwrap();
    /// drop(three);
    /// assert_eq!((one.count(), semaphore.value()), (1, 2));
    /// ```
    pub fn split(&mut self, count: u32) -> Option<Permit<'a>> {
        self.count = self.count.checked_sub(count)?;
        Some(Permit { count, ..*self })
    }
}

impl Drop for Permit<'_> {
    /// # Panics
    /// If a bounded semaphore was given back too much before.
    #[inline]
    fn drop(&mut self) {
        let (count, bound) = (self.count, self.most);
        if let Err(value) = self.raw.release(count, bound)
            && !std::thread::panicking()
        {
            panic!("{}", OverRelease { count, value, bound });
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("count", &self.count).finish_non_exhaustive()
    }
}

/// More permits were given back than were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverRelease {
    count: u32,
    value: u32,
    bound: u32,
}

impl fmt::Display for OverRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OverRelease { count, value, bound } = self;
        let permits = if *count == 1 { "permit" } else { "permits" };
        write!(f, "{count} {permits} given back to a semaphore that has ")?;
        if value == bound {
            write!(f, "all its {bound}")
        } else {
            write!(f, "{value} of its {bound}")
        }?;
        f.write_str(": it was given back twice, or never taken")
    }
}

impl std::error::Error for OverRelease {}
