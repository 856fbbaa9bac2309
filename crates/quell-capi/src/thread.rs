//! Threads: ids, starting, joining; and threads that somebody else has started.

use crate::lock::words;
use crate::object::{answer, borrow, free, hand_out, hold};
use crate::reason::text;
use crate::status::quell_status::{QUELL_DEADLOCK, QUELL_EXITED, QUELL_INVALID};
use crate::status::{Failure, call, call_for, quell_status};
use crate::time::{quell_deadline, until};
use quell_core::deadlock::called_from;
use quell_core::{Thread, ThreadId};
use std::ffi::{c_char, c_void};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// A thread's id: a number that is never 0 and, within a process, never reused. A late interrupt cannot hit a stranger.
pub type quell_thread_id = u64;

/// What a thread runs. It must return: not by pthread_exit(), nor by an exception.
pub type quell_start = Option<extern "C" fn(*mut c_void) -> *mut c_void>;

/// A handle to a thread: of one that quell_spawn() has started, or of one that quell_thread_prepare() waits for.
///
/// It outlives the thread, and any thread may use it. Freeing it leaves the thread running.
pub struct quell_thread {
    thread: Thread,
    origin: Origin,
}

enum Origin {
    /// Started here. What it returned, once it has.
    Spawned(Arc<OnceLock<Pointer>>),
    /// To be adopted by a thread that somebody else has started. Whether that has happened.
    Prepared(AtomicBool),
}

/// A pointer that goes from thread to thread.
#[derive(Clone, Copy)]
pub(crate) struct Pointer(pub(crate) *mut c_void);

// SAFETY: quell only carries it; what it points to is the program's affair, which knows that it goes to another thread.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

/// How quell_spawn() starts a thread. Begin with QUELL_SPAWN_OPTIONS, which sets `size`: it says which fields there are, so
/// that later versions can add some.
#[repr(C)]
pub struct quell_spawn_options {
    /// sizeof(quell_spawn_options) in the program.
    pub size: usize,
    /// The thread's name, for messages; copied. NULL: none.
    pub name: *const c_char,
    /// The size of its stack in bytes. 0: the default.
    pub stack_size: usize,
    /// Whether it starts in a mask that it never leaves, other than with quell_unmask_begin(): until then no
    /// quell_checkpoint() delivers.
    pub masked: bool,
    /// Whether it starts in a shield that it never leaves, other than with quell_unmask_begin(): until then nothing is
    /// delivered at all.
    pub shielded: bool,
}

/// The calling thread's id. A thread that quell does not know becomes known by this, as by the first call of any other
/// function that needs to know. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_thread_self() -> quell_thread_id {
    call_for("quell_thread_self", 0, || Ok(number(&quell_core::current())))
}

/// The id of the process's main thread, whether or not it has used quell. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_thread_main() -> quell_thread_id {
    call_for("quell_thread_main", 0, || Ok(number(&quell_core::main())))
}

/// Whether a thread with this id lives. Out of date as soon as it is known, unless it is false, which is for ever. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn quell_thread_is_alive(id: quell_thread_id) -> bool {
    call_for("quell_thread_is_alive", false, || Ok(lookup(id).is_some()))
}

/// Writes the name of a living thread into `buffer`, with its NUL, as much of it as fits into `size` bytes. Does not block.
///
/// Returns the length of the whole name without its NUL, as snprintf() does; 0 if it has none. If no living thread has the
/// id, 0 and an empty name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_thread_name(
    id: quell_thread_id,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    call_for("quell_thread_name", 0, || {
        let name = lookup(id).and_then(|thread| thread.name()).unwrap_or_default();
        if !buffer.is_null() && size > 0 {
            let count = name.len().min(size - 1);
            // SAFETY: the caller's promise: `size` bytes may be written.
            unsafe {
                buffer.copy_from_nonoverlapping(name.as_ptr().cast(), count);
                buffer.add(count).write(0);
            }
        }
        Ok(name.len())
    })
}

/// Writes the ids of the living threads that quell knows into `ids`, oldest first, `capacity` at most. Returns how many
/// there are. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_threads(ids: *mut quell_thread_id, capacity: usize) -> usize {
    call_for("quell_threads", 0, || {
        let threads = quell_core::enumerate();
        if !ids.is_null() {
            for (at, thread) in threads.iter().take(capacity).enumerate() {
                // SAFETY: the caller's promise: `capacity` ids may be written.
                unsafe { ids.add(at).write(number(thread)) };
            }
        }
        Ok(threads.len())
    })
}

/// Starts a thread that calls `start(argument)`. It can be interrupted at once, before it has run at all. `options` may be
/// NULL. Does not block.
///
/// Returns its handle, to be freed with quell_thread_free(), joined or not. NULL if it could not be started:
/// quell_last_error() says why.
///
/// The thread ends, as quell sees it, when `start` returns; what is pending then ends as QUELL_TARGET_EXITED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_spawn(
    start: quell_start,
    argument: *mut c_void,
    options: *const quell_spawn_options,
) -> *mut quell_thread {
    call_for("quell_spawn", std::ptr::null_mut(), || {
        let start = start.ok_or_else(|| crate::object::null("start function"))?;
        // SAFETY: the caller's promise: NULL, or options that it has set.
        let builder = match unsafe { options.as_ref() } {
            None => quell_core::thread::Builder::new(),
            // SAFETY: as above.
            Some(options) => unsafe { builder(options) }?,
        };
        let result = Arc::new(OnceLock::new());
        let argument = Pointer(argument);
        let body = {
            let result = Arc::clone(&result);
            move || {
                // The whole of it goes along, not its field.
                let Pointer(argument) = { argument };
                // Nobody else sets it.
                let _ = result.set(Pointer(start(argument)));
            }
        };
        let started = builder.spawn(body).map_err(|error| Failure::system(&error))?;
        let thread = started.thread().clone();
        Ok(hand_out(quell_thread { thread, origin: Origin::Spawned(result) }))
    })
}

/// # Safety
/// The options' name is null or a string that ends with NUL.
unsafe fn builder(options: &quell_spawn_options) -> Result<quell_core::thread::Builder, Failure> {
    let size = size_of::<quell_spawn_options>();
    if options.size != size {
        let given = options.size;
        return Err(Failure::invalid(format!(
            "the options' size is {given}, not {size}: begin with QUELL_SPAWN_OPTIONS"
        )));
    }
    let mut builder = quell_core::thread::Builder::new();
    // SAFETY: the caller's promise.
    if let Some(name) = unsafe { text(options.name) } {
        builder = builder.name(name.to_string_lossy().into_owned());
    }
    if options.stack_size > 0 {
        builder = builder.stack_size(options.stack_size);
    }
    if options.shielded {
        builder = builder.shielded();
    } else if options.masked {
        builder = builder.masked();
    }
    Ok(builder)
}

/// Waits until a thread has ended, and writes what its function returned to `result`, unless that is NULL. Any number of
/// threads may join a thread, any number of times. Of a thread that quell has not started, the result is NULL.
///
/// Interruption point, if it has to wait; the thread waited for is not touched by that. QUELL_OK, QUELL_INTERRUPTED,
/// QUELL_TIMED_OUT. QUELL_DEADLOCK: it is the calling thread itself; or, with quell_set_detection(), the wait would never end.
/// QUELL_EXITED: it ended without a result, because the process was forked while it ran, and it exists in the parent only.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_join(
    thread: *const quell_thread,
    result: *mut *mut c_void,
    deadline: quell_deadline,
) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_join", || unsafe { join(thread, result, deadline, "quell_join()") })
}

/// quell_join(), which this header makes this, called at `place`; see quell_lock_acquire_at().
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_join_at(
    thread: *const quell_thread,
    result: *mut *mut c_void,
    deadline: quell_deadline,
    place: *const c_char,
) -> quell_status {
    // SAFETY: as the caller promises.
    call("quell_join", || unsafe { join(thread, result, deadline, words(place, "quell_join()")) })
}

/// # Safety
/// As quell_join().
unsafe fn join(
    thread: *const quell_thread,
    result: *mut *mut c_void,
    deadline: quell_deadline,
    place: &'static str,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise: NULL or a handle.
    let handle = unsafe { hold(thread, "thread") }?;
    if handle.thread == quell_core::current() {
        return Err(Failure::new(QUELL_DEADLOCK, "a thread cannot wait for its own end"));
    }
    called_from(place, || handle.thread.wait_ended(&until(deadline)))?;
    let returned = match &handle.origin {
        Origin::Prepared(_) => Pointer(std::ptr::null_mut()),
        Origin::Spawned(result) => *result.get().ok_or_else(|| {
            let what = format!("{} does not exist in this process since fork", handle.thread);
            Failure::new(QUELL_EXITED, what)
        })?,
    };
    // SAFETY: the caller's promise: NULL or a place for it.
    unsafe { answer(result, returned.0) };
    Ok(())
}

/// The id of a handle's thread. 0 of NULL. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_thread_get_id(thread: *const quell_thread) -> quell_thread_id {
    call_for("quell_thread_get_id", 0, || {
        // SAFETY: the caller's promise: NULL or a handle.
        Ok(number(&unsafe { borrow(thread, "thread") }?.thread))
    })
}

/// Makes a handle for a thread that somebody else starts, by pthread_create() say: its id is known, and it can be interrupted,
/// before it runs. That thread then calls quell_thread_adopt(). `name` is for messages and is copied; it may be NULL. Does
/// not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_thread_prepare(name: *const c_char) -> *mut quell_thread {
    call_for("quell_thread_prepare", std::ptr::null_mut(), || {
        // SAFETY: the caller's promise: NULL, or a string that ends.
        let name = unsafe { text(name) }.map(|name| name.to_string_lossy().into_owned());
        let origin = Origin::Prepared(AtomicBool::new(false));
        Ok(hand_out(quell_thread { thread: Thread::unattached(name), origin }))
    })
}

/// Makes the calling thread the one that a handle was prepared for, with whatever is pending in it. To be called before the
/// thread's first use of quell, and not in the main thread, which has a handle from the start. The thread ends, as quell
/// sees it, when its thread-locals are destroyed. Does not block.
///
/// QUELL_INVALID: the handle was not prepared, or was adopted; or this thread is known already, or is the main thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_thread_adopt(thread: *mut quell_thread) -> quell_status {
    call("quell_thread_adopt", || {
        // SAFETY: the caller's promise: NULL or a handle.
        let handle = unsafe { hold(thread, "thread") }?;
        let Origin::Prepared(adopted) = &handle.origin else {
            return Err(Failure::invalid(format!("{} was not prepared", handle.thread)));
        };
        if is_main() {
            return Err(Failure::invalid("the main thread has a handle of its own"));
        }
        if quell_core::is_registered() {
            let me = quell_core::current();
            return Err(Failure::invalid(format!(
                "this thread is known as {me}: adopt before its first use of quell"
            )));
        }
        // AcqRel: one of them wins, and has what the one that prepared it did before.
        if adopted.swap(true, AcqRel) {
            return Err(Failure::invalid(format!("{} was adopted before", handle.thread)));
        }
        quell_core::adopt(&handle.thread)
            .map_err(|known| Failure::new(QUELL_INVALID, known.to_string()))
    })
}

/// Frees a handle. The thread goes on. A handle that was prepared and not adopted counts as a thread that has ended: what is
/// pending ends as QUELL_TARGET_EXITED. NULL is ignored. Does not block. Always QUELL_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quell_thread_free(thread: *mut quell_thread) -> quell_status {
    call("quell_thread_free", || {
        // SAFETY: the caller's promise: NULL or a handle that it does not use again.
        unsafe { free(thread, |_| Ok(())) }
    })
}

impl Drop for quell_thread {
    fn drop(&mut self) {
        if let Origin::Prepared(adopted) = &self.origin
            && !adopted.load(Acquire)
        {
            self.thread.mark_exited();
        }
    }
}

/// The living thread with this id.
pub(crate) fn lookup(id: quell_thread_id) -> Option<Thread> {
    quell_core::lookup(ThreadId::from_number(NonZeroU64::new(id)?))
}

/// The same, or why not.
pub(crate) fn living(id: quell_thread_id) -> Result<Thread, Failure> {
    lookup(id).ok_or_else(|| match id {
        0 => Failure::invalid("the id is 0"),
        _ => Failure::new(QUELL_EXITED, format!("no living thread has the id {id}")),
    })
}

fn number(thread: &Thread) -> quell_thread_id {
    thread.id().get().get()
}

/// Whether this is the thread that `main` runs in.
fn is_main() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call can fail.
    return unsafe { libc::gettid() == libc::getpid() };
    #[cfg(not(target_os = "linux"))]
    return false;
}
