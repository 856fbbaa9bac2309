//! A function to be called once, kept in place if it is small: a deadline that captures a handle or two allocates
//! nothing of its own.

use std::mem::{MaybeUninit, align_of, size_of};

/// Room for three words, which is what most deadlines capture.
type Room = MaybeUninit<[usize; 3]>;

/// An owned `FnOnce() + Send`.
pub(crate) struct Function {
    room: Room,
    kind: &'static Kind,
}

/// What to do with the room, by the type of what is in it.
struct Kind {
    /// # Safety
    /// The room holds a value of that type, which is moved out.
    call: unsafe fn(*mut Room),
    /// # Safety
    /// As above.
    drop: unsafe fn(*mut Room),
}

// SAFETY: `new` takes what is Send only.
unsafe impl Send for Function {}

impl Function {
    #[inline]
    pub(crate) fn new<F: FnOnce() + Send + 'static>(f: F) -> Function {
        if size_of::<F>() <= size_of::<Room>() && align_of::<F>() <= align_of::<Room>() {
            Function::in_place(f)
        } else {
            let boxed: Box<dyn FnOnce() + Send> = Box::new(f);
            Function::in_place(boxed)
        }
    }

    #[inline]
    fn in_place<F: FnOnce() + Send + 'static>(f: F) -> Function {
        const {
            // Of the larger ones there is only the box; this is compiled for all.
            assert!(size_of::<Box<dyn FnOnce() + Send>>() <= size_of::<Room>());
        }
        assert!(size_of::<F>() <= size_of::<Room>() && align_of::<F>() <= align_of::<Room>());
        let mut room = Room::uninit();
        // SAFETY: it fits, as was just looked at.
        unsafe { (&raw mut room).cast::<F>().write(f) };
        Function { room, kind: Typed::<F>::KIND }
    }

    /// Calls it.
    pub(crate) fn call(self) {
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the room holds what `kind` is for; it is moved out here, and not dropped again.
        unsafe { (this.kind.call)(&raw mut this.room) };
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // SAFETY: the room holds what `kind` is for, and this is the last access.
        unsafe { (self.kind.drop)(&raw mut self.room) };
    }
}

struct Typed<F>(F);

impl<F: FnOnce()> Typed<F> {
    const KIND: &'static Kind = &Kind {
        // SAFETY: the caller promises that an `F` is there.
        call: |room| unsafe { room.cast::<F>().read()() },
        // SAFETY: as above.
        drop: |room| unsafe { room.cast::<F>().drop_in_place() },
    };
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Called or dropped, whatever its size: what it captured is gone once.
    #[test]
    fn of_every_size() {
        fn check<const N: usize>() {
            let calls = Arc::new(AtomicUsize::new(0));
            for call in [true, false] {
                let (counted, filling) = (Arc::clone(&calls), [7_u64; N]);
                let function = Function::new(move || {
                    counted.fetch_add(filling.iter().sum::<u64>() as usize + 1, SeqCst);
                });
                if call {
                    function.call();
                } else {
                    drop(function);
                }
            }
            assert_eq!(calls.load(SeqCst), 7 * N + 1);
            assert_eq!(Arc::strong_count(&calls), 1);
        }
        check::<0>();
        check::<2>();
        check::<3>();
        check::<100>();
        Function::new(|| ()).call();
    }

    #[test]
    fn of_great_alignment() {
        #[repr(align(64))]
        struct Wide(u8);
        let wide = Wide(1);
        Function::new(move || {
            assert_eq!(std::ptr::from_ref(&wide).addr() % 64 + usize::from(wide.0), 1)
        })
        .call();
    }

    #[test]
    fn a_panic_drops_what_was_captured() {
        let captured = Arc::new(());
        let inner = Arc::clone(&captured);
        let function = Function::new(move || {
            let _inner = inner;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| function.call())).is_err()
        );
        assert_eq!(Arc::strong_count(&captured), 1);
    }
}
