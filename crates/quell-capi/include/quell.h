/*
 * Threads that can be stopped: the C interface of quell.
 *
 * Any thread can be interrupted by any other, wherever it waits: for a lock, a condition, a semaphore, an event, a barrier, a
 * queue, another thread, or the clock. The interrupted call returns QUELL_INTERRUPTED and had no effect: no lock is held, no
 * item was taken or lost. The thread cleans up and goes on, or returns; the process lives on with all its state.
 *
 *     static void *work(void *argument) {
 *         quell_queue *jobs = argument;
 *         void *job;
 *         while (quell_queue_get(jobs, &job, QUELL_FOREVER) == QUELL_OK)
 *             do_job(job);
 *         return NULL;                                // interrupted, or the queue was shut down
 *     }
 *
 *     quell_thread *worker = quell_spawn(work, jobs, NULL);
 *     quell_reason *stop = quell_reason_new("shutting down", NULL, NULL);
 *     quell_interrupt(quell_thread_get_id(worker), stop, NULL);
 *     quell_reason_release(stop);
 *     (void)!quell_join(worker, NULL, QUELL_FOREVER);
 *     quell_thread_free(worker);
 *
 * What holds for every function, unless its description says otherwise:
 *
 * Status. A call that can fail returns a quell_status, and QUELL_OK is 0. quell_last_error() says what happened, in which
 * thread, and what to do. Functions that return a pointer return NULL instead. A call that did not return QUELL_OK had no
 * effect.
 *
 * Interruption points. "Interruption point" means: if an interrupt is pending in the calling thread, or arrives while it
 * waits there, the call may return QUELL_INTERRUPTED. "If it has to wait" means: a call that can do its work at once does so,
 * and leaves the interrupt pending. Completion beats interruption: what was granted is returned, and the interrupt stays
 * pending for the next one. Masks and shields hold interrupts back. No other call is an interruption point, and code that
 * reaches none is not interrupted; quell_checkpoint() is one for loops that compute.
 *
 * Deadlines. A call that blocks takes a quell_deadline, a moment of the monotonic clock in nanoseconds: QUELL_FOREVER,
 * quell_after(QUELL_SECONDS(2)), or QUELL_NOW. It may return later than that, never earlier.
 *
 * Threads. Every function may be called from any thread, at the same time, on the same object. None may be called from a
 * signal handler.
 *
 * Objects. What a ..._new() returned is freed by its ..._free(), once, by whoever knows that nobody will begin another call
 * on it. Calls that are about to return need not have done so: a thread that was woken by quell_event_set() may free
 * the event at once. Freeing an object that somebody waits for is QUELL_BUSY, and does nothing. NULL is freed silently; as any
 * other argument it is QUELL_INVALID. A pointer that is neither NULL nor an object that is alive cannot be told, and the
 * behaviour is undefined.
 *
 * Callbacks (start functions, destructors, actions) return. They do not leave by longjmp(), pthread_exit(), a
 * cancellation, or a C++ exception: that ends the process.
 *
 * Fork. The child has the thread that called fork(), with its id, its masks and what is pending in it; every other thread
 * counts as ended there. An object that another thread had, or waited for, at that moment must be reset by its
 * ..._after_fork() before the child uses it. A child that calls exec() need do nothing.
 *
 * ABI. Objects are opaque, numbers of enumerations and meanings of functions do not change, and structures that are passed in say
 * their size: programs need not be compiled again for a library with the same soname, which changes with the minor version
 * before 1.0 and with the major version from then on.
 *
 * This file is made by `cargo xtask header` from crates/quell-capi; do not edit it.
 */

#ifndef QUELL_H
#define QUELL_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** The version of quell that this header belongs to. */
#define QUELL_VERSION "0.1.0"
/** The same as a number, to compare: 10000 times major, 100 times minor, and patch. */
#define QUELL_VERSION_NUMBER 100

/** A result that must be looked at: a call that was interrupted has not done what it was called for. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define QUELL_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define QUELL_MUST_USE __attribute__((warn_unused_result))
#else
#define QUELL_MUST_USE
#endif

/** A deadline that never comes. */
#define QUELL_FOREVER UINT64_MAX
/** A deadline that has passed. */
#define QUELL_NOW UINT64_C(0)
/** So many seconds, milliseconds, microseconds in nanoseconds, for quell_after(). */
#define QUELL_SECONDS(n) ((uint64_t)(n) * UINT64_C(1000000000))
#define QUELL_MILLISECONDS(n) ((uint64_t)(n) * UINT64_C(1000000))
#define QUELL_MICROSECONDS(n) ((uint64_t)(n) * UINT64_C(1000))

/** The capacity of a queue that takes any number of items. */
#define QUELL_UNBOUNDED SIZE_MAX

/** What a quell_spawn_options begins with: `quell_spawn_options options = QUELL_SPAWN_OPTIONS;` */
#define QUELL_SPAWN_OPTIONS {sizeof(quell_spawn_options), NULL, 0, false, false}

/* Of <fcntl.h>, <sys/epoll.h>, <sys/socket.h> and <sys/uio.h>, for those who use them. A socklen_t is a uint32_t. */
struct flock;
struct epoll_event;
struct iovec;
struct msghdr;
struct sockaddr;

/**
 * How a call ended. QUELL_OK is 0, everything else is not. The numbers are part of the ABI.
 *
 * A call that ends with anything else than QUELL_OK had no effect, unless its description says so.
 */
typedef enum {
    /**
     * It did what it says.
     */
    QUELL_OK = 0,
    /**
     * The calling thread was interrupted; quell_take_reason() has the reason.
     */
    QUELL_INTERRUPTED = 1,
    /**
     * The deadline has passed.
     */
    QUELL_TIMED_OUT = 2,
    /**
     * The call would have to wait, and was told not to; or the object is in use and cannot be freed.
     */
    QUELL_BUSY = 3,
    /**
     * The queue has no room, and the call does not wait.
     */
    QUELL_FULL = 4,
    /**
     * The queue has no item, and the call does not wait.
     */
    QUELL_EMPTY = 5,
    /**
     * The queue is shut down; to get from it, also empty.
     */
    QUELL_SHUT_DOWN = 6,
    /**
     * The barrier is broken: a party gave up, or it was aborted or reset.
     */
    QUELL_BROKEN = 7,
    /**
     * The calling thread does not hold the lock.
     */
    QUELL_NOT_OWNER = 8,
    /**
     * The calling thread would wait for itself, for ever; directly, or through others that wait for it.
     */
    QUELL_DEADLOCK = 9,
    /**
     * More was given back than was taken.
     */
    QUELL_OVERFLOW = 10,
    /**
     * The scope is not the innermost one of the calling thread.
     */
    QUELL_MISNESTED = 11,
    /**
     * The interrupt cannot be taken back: it was delivered or withdrawn, or its target has ended.
     */
    QUELL_TOO_LATE = 12,
    /**
     * No living thread has this id.
     */
    QUELL_EXITED = 13,
    /**
     * An argument is null or out of range.
     */
    QUELL_INVALID = 14,
    /**
     * The system refused; errno says why.
     */
    QUELL_SYSTEM = 15,
    /**
     * A bug in quell. The message says where.
     */
    QUELL_INTERNAL = 16,
} quell_status;

/**
 * What became of an interrupt: each ends exactly one way, once.
 */
typedef enum {
    /**
     * Nothing yet: it waits to be delivered.
     */
    QUELL_PENDING = 0,
    /**
     * The target has received it.
     */
    QUELL_DELIVERED = 1,
    /**
     * It was taken back, and never will be delivered.
     */
    QUELL_WITHDRAWN = 2,
    /**
     * The target ended first.
     */
    QUELL_TARGET_EXITED = 3,
} quell_outcome;

/**
 * Whether deadlocks are looked for, and what is done about one.
 */
typedef enum {
    /**
     * They are not looked for.
     */
    QUELL_DETECTION_OFF = 0,
    /**
     * They are reported, and left as they are.
     */
    QUELL_DETECTION_REPORT = 1,
    /**
     * The wait that closes the circle fails with QUELL_DEADLOCK; if it is inside a shield, the youngest thread's that can.
     */
    QUELL_DETECTION_FAIL = 2,
    /**
     * The youngest thread's wait fails, of those that can.
     */
    QUELL_DETECTION_YOUNGEST = 3,
    /**
     * A function is asked; see quell_set_detection_asking().
     */
    QUELL_DETECTION_ASK = 4,
} quell_detection;

/**
 * What is to be done about a deadlock.
 */
typedef enum {
    /**
     * Nothing: all of them go on waiting, until a deadline, an interrupt, or for ever.
     */
    QUELL_VERDICT_WAIT = 0,
    /**
     * The wait that closed the circle fails; if it cannot, the youngest thread's that can.
     */
    QUELL_VERDICT_FAIL = 1,
    /**
     * The youngest thread's wait fails, of those that can.
     */
    QUELL_VERDICT_YOUNGEST = 2,
    /**
     * The wait of the thread that was written to `victim` fails. If it cannot, or is not one of them, nothing is done.
     */
    QUELL_VERDICT_THREAD = 3,
} quell_verdict;

/**
 * How something is written down.
 */
typedef enum {
    /**
     * For people, a line for each thread.
     */
    QUELL_TEXT = 0,
    /**
     * JSON: an object with one key, "waits", an array with an object for each thread.
     */
    QUELL_JSON = 1,
    /**
     * A graph for `dot -Tsvg`.
     */
    QUELL_DOT = 2,
} quell_format;

/**
 * A place where a number of threads wait for each other: none gets through before all have arrived. Then it is ready for
 * the next round.
 *
 * If one of them gives up (it is interrupted, or its deadline passes), the others would wait for ever. So that breaks the
 * barrier: all who wait, and all who come, get QUELL_BROKEN, until somebody resets it.
 */
typedef struct quell_barrier quell_barrier;

/**
 * A place to wait, with a lock released, for something to change under that lock. Also called a condition variable.
 *
 * None wakes for nothing: a wait that returns QUELL_OK was notified; but what it waits for may have changed again before it
 * had the lock, so look again. A notification that competes with an interrupt or a deadline is never lost: it went to this
 * waiter, which returns QUELL_OK, or to the next.
 */
typedef struct quell_condition quell_condition;

/**
 * Threads that wait for each other in a circle, so that none of them can go on: each waits for the next, and the last for the
 * first, which is the one that closed the circle.
 */
typedef struct quell_deadlock quell_deadlock;

/**
 * A flag that threads wait for. Clear at first; once set, it stays so until it is cleared.
 */
typedef struct quell_event quell_event;

/**
 * A lock: one thread at a time has it. Made by quell_lock_new(), or by quell_rlock_new() for one that its owner may take
 * again, and is free when it was released as often. Only the owner releases it.
 *
 * Not fair from moment to moment, but nobody is passed over for long. A thread that ends releases nothing. For a flag or a
 * count that one thread gives and another takes, use quell_event or quell_semaphore.
 */
typedef struct quell_lock quell_lock;

/**
 * A queue of pointers, for any number of threads at both ends. Made by quell_queue_new() (first in, first out),
 * quell_lifo_queue_new() (last in, first out) or quell_priority_queue_new(). NULL is an item like any other.
 *
 * An item belongs to the queue from the moment that a put returns QUELL_OK until a get returns it; a put that
 * ends otherwise leaves it to the caller. What is still in the queue when that is freed, or shut down immediately, goes to
 * the queue's destructor, once each, with nothing locked. No item is lost and none comes twice, whatever interrupts,
 * deadlines and shut-downs come.
 */
typedef struct quell_queue quell_queue;

/**
 * Why a thread is interrupted: a message, and anything else that sender and receiver agree on. Counted by reference:
 *
 * - quell_reason_new() gives the caller a reference; quell_reason_retain() gives one more.
 * - Functions that send a reason take a reference of their own; the caller keeps its own.
 * - quell_take_reason(), in the thread that was interrupted, gives the caller the reference that was sent.
 * - Each reference that the caller has ends with quell_reason_release().
 *
 * The destructor runs once, in the thread that gives up the last reference, with nothing locked: whether the interrupt was
 * delivered, withdrawn, or its target had ended. It must return.
 *
 * A reason may be sent any number of times, to any number of threads; so its data are shared between them.
 */
typedef struct quell_reason quell_reason;

/**
 * Asks what became of an interrupt, waits for it, or takes the interrupt back. Any thread may use it. Freeing it changes
 * nothing about the interrupt.
 */
typedef struct quell_receipt quell_receipt;

/**
 * A number of permits. Who takes some has them until they are given back, by any thread; when there are too few, it waits.
 * Made by quell_semaphore_new(), or by quell_bounded_semaphore_new() for one that never has more than at first.
 */
typedef struct quell_semaphore quell_semaphore;

/**
 * A handle to a thread: of one that quell_spawn() has started, or of one that quell_thread_prepare() waits for.
 *
 * It outlives the thread, and any thread may use it. Freeing it leaves the thread running.
 */
typedef struct quell_thread quell_thread;

/**
 * A moment at which a call gives up: nanoseconds of the monotonic clock (CLOCK_MONOTONIC), as quell_now() shows it.
 *
 * quell_after(QUELL_SECONDS(2)) is two seconds from now. QUELL_FOREVER never comes. QUELL_NOW has passed: the call does what
 * can be done at once, or returns QUELL_TIMED_OUT; it is an interruption point all the same. Because it is a moment and
 * not a length of time, several calls can share one, and a call that is made again need not count what is left.
 */
typedef uint64_t quell_deadline;

/**
 * A thread's id: a number that is never 0 and, within a process, never reused. A late interrupt cannot hit a stranger.
 */
typedef uint64_t quell_thread_id;

/**
 * What a thread runs. It must return: not by pthread_exit(), nor by an exception.
 */
typedef void *(*quell_start)(void*);

/**
 * How quell_spawn() starts a thread. Begin with QUELL_SPAWN_OPTIONS, which sets `size`: it says which fields there are, so
 * that later versions can add some.
 */
typedef struct {
    /**
     * sizeof(quell_spawn_options) in the program.
     */
    size_t size;
    /**
     * The thread's name, for messages; copied. NULL: none.
     */
    const char *name;
    /**
     * The size of its stack in bytes. 0: the default.
     */
    size_t stack_size;
    /**
     * Whether it starts in a mask that it never leaves, other than with quell_unmask_begin(): until then no
     * quell_checkpoint() delivers.
     */
    bool masked;
    /**
     * Whether it starts in a shield that it never leaves, other than with quell_unmask_begin(): until then nothing is
     * delivered at all.
     */
    bool shielded;
} quell_spawn_options;

/**
 * A destructor: gives up what an object owns. It must return.
 */
typedef void (*quell_destroy)(void*);

/**
 * A scope of the calling thread: what a ..._begin() returned, for quell_scope_end(). Never used again within a process.
 */
typedef uint64_t quell_scope;

/**
 * What the last party to arrive runs, before anybody gets through. It must return.
 */
typedef void (*quell_action)(void*);

/**
 * Compares two items of a queue by priority, with the context that the queue was made with: less than 0 if the first comes
 * before the second, more than 0 if it comes after it, 0 if they are equals. For the items of one queue it must always give the
 * same order. It is called by puts and gets, in their threads, inside the queue: it must be short, and must not call quell.
 */
typedef int (*quell_compare)(const void *first, const void *second, void *context);

/**
 * Says what is to be done about a deadlock: one of quell_verdict; anything else is QUELL_VERDICT_WAIT. `context` is what it was
 * set with. The deadlock is the callee's to look at until it returns.
 *
 * Called in the thread that closed the circle, which has nothing of quell's locked then but what it had acquired; it may use
 * quell, and should not wait for any of the threads concerned. It returns, as all callbacks. If one of those threads gives up
 * meanwhile, the answer is void.
 */
typedef int32_t (*quell_judge)(const quell_deadlock *deadlock,
                               quell_thread_id *victim,
                               void *context);

/**
 * Is told of a deadlock, where a quell_judge would be asked, and before.
 */
typedef void (*quell_reporter)(const quell_deadlock *deadlock, void *context);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A status in words, such as "the queue is full". Static; never null. Does not block.
 */
const char *quell_strerror(int32_t status);

/**
 * The calling thread's last call that did not return QUELL_OK, in words: which function, in which thread, what happened,
 * what to do. Empty if there was none.
 *
 * The string belongs to quell, and is valid until the next call that fails in this thread. Does not block. A call that
 * succeeds leaves the message alone, as with errno.
 */
const char *quell_last_error(void);

/**
 * The version of the library that the program runs with, such as "0.1.0": static, never null. QUELL_VERSION is the one it
 * was compiled with. Does not block.
 */
const char *quell_version(void);

/**
 * The same as a number, to compare with QUELL_VERSION_NUMBER: 10000 times major, 100 times minor, and patch.
 */
uint32_t quell_version_number(void);

/**
 * The monotonic clock, in nanoseconds. Does not block.
 */
quell_deadline quell_now(void);

/**
 * The moment so many nanoseconds from now. Beyond what the clock can represent: QUELL_FOREVER. Does not block.
 */
quell_deadline quell_after(uint64_t nanoseconds);

/**
 * Sleeps until the deadline. Never returns early; QUELL_NOW does not sleep.
 *
 * Interruption point. QUELL_OK: the time is over. QUELL_INTERRUPTED: not yet, and there is no more sleep.
 */
QUELL_MUST_USE
quell_status quell_sleep(quell_deadline deadline);

/**
 * The calling thread's id. A thread that quell does not know becomes known by this, as by the first call of any other
 * function that needs to know. Does not block.
 */
quell_thread_id quell_thread_self(void);

/**
 * The id of the process's main thread, whether or not it has used quell. Does not block.
 */
quell_thread_id quell_thread_main(void);

/**
 * Whether a thread with this id lives. Out of date as soon as it is known, unless it is false, which is for ever. Does not
 * block.
 */
bool quell_thread_is_alive(quell_thread_id id);

/**
 * Writes the name of a living thread into `buffer`, with its NUL, as much of it as fits into `size` bytes. Does not block.
 *
 * Returns the length of the whole name without its NUL, as snprintf() does; 0 if it has none. If no living thread has the
 * id, 0 and an empty name.
 */
size_t quell_thread_name(quell_thread_id id,
                         char *buffer,
                         size_t size);

/**
 * Writes the ids of the living threads that quell knows into `ids`, oldest first, `capacity` at most. Returns how many
 * there are. Does not block.
 */
size_t quell_threads(quell_thread_id *ids,
                     size_t capacity);

/**
 * Starts a thread that calls `start(argument)`. It can be interrupted at once, before it has run at all. `options` may be
 * NULL. Does not block.
 *
 * Returns its handle, to be freed with quell_thread_free(), joined or not. NULL if it could not be started:
 * quell_last_error() says why.
 *
 * The thread ends, as quell sees it, when `start` returns; what is pending then ends as QUELL_TARGET_EXITED.
 */
quell_thread *quell_spawn(quell_start start,
                          void *argument,
                          const quell_spawn_options *options);

/**
 * Waits until a thread has ended, and writes what its function returned to `result`, unless that is NULL. Any number of
 * threads may join a thread, any number of times. Of a thread that quell has not started, the result is NULL.
 *
 * Interruption point, if it has to wait; the thread waited for is not touched by that. QUELL_OK, QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT. QUELL_DEADLOCK: it is the calling thread itself; or, with quell_set_detection(), the wait would never end.
 * QUELL_EXITED: it ended without a result, because the process was forked while it ran, and it exists in the parent only.
 */
QUELL_MUST_USE
quell_status quell_join(const quell_thread *thread,
                        void **result,
                        quell_deadline deadline);

/**
 * quell_join(), which this header makes this, called at `place`; see quell_lock_acquire_at().
 */
QUELL_MUST_USE
quell_status quell_join_at(const quell_thread *thread,
                           void **result,
                           quell_deadline deadline,
                           const char *place);

/**
 * The id of a handle's thread. 0 of NULL. Does not block.
 */
quell_thread_id quell_thread_get_id(const quell_thread *thread);

/**
 * Makes a handle for a thread that somebody else starts, by pthread_create() say: its id is known, and it can be interrupted,
 * before it runs. That thread then calls quell_thread_adopt(). `name` is for messages and is copied; it may be NULL. Does
 * not block.
 */
quell_thread *quell_thread_prepare(const char *name);

/**
 * Makes the calling thread the one that a handle was prepared for, with whatever is pending in it. To be called before the
 * thread's first use of quell, and not in the main thread, which has a handle from the start. The thread ends, as quell
 * sees it, when its thread-locals are destroyed. Does not block.
 *
 * QUELL_INVALID: the handle was not prepared, or was adopted; or this thread is known already, or is the main thread.
 */
quell_status quell_thread_adopt(quell_thread *thread);

/**
 * Frees a handle. The thread goes on. A handle that was prepared and not adopted counts as a thread that has ended: what is
 * pending ends as QUELL_TARGET_EXITED. NULL is ignored. Does not block. Always QUELL_OK.
 */
quell_status quell_thread_free(quell_thread *thread);

/**
 * Makes a reason. `message` says it in words, in UTF-8, and is copied; NULL: without. `data` is whatever the receiver shall
 * have, and `destroy` what is called with it in the end; both may be NULL.
 *
 * The caller has a reference; see quell_reason. Does not block. NULL only if the message is beyond memory.
 */
quell_reason *quell_reason_new(const char *message,
                               void *data,
                               quell_destroy destroy);

/**
 * One more reference to a reason, which is returned. NULL of NULL. Does not block. Any thread that has a reference.
 */
quell_reason *quell_reason_retain(quell_reason *reason);

/**
 * Gives up a reference to a reason. NULL is ignored. The last one runs the destructor here. Does not block otherwise. Any
 * thread that has a reference.
 */
void quell_reason_release(quell_reason *reason);

/**
 * The message of a reason, or NULL if it has none. Lives as long as the reason. Does not block. Any thread that has a
 * reference.
 */
const char *quell_reason_message(const quell_reason *reason);

/**
 * The data of a reason. They live as long as the reason. Does not block. Any thread that has a reference.
 */
void *quell_reason_data(const quell_reason *reason);

/**
 * Takes the reason of the interrupt that was delivered last in the calling thread: after QUELL_INTERRUPTED. NULL if there
 * was none, or it was taken. The caller has the reference now; see quell_reason.
 *
 * A reason that nobody takes is released when the next interrupt is delivered in this thread, or when it ends. Does not
 * block.
 */
quell_reason *quell_take_reason(void);

/**
 * Interrupts a thread: its current wait, or else its next interruption point, returns QUELL_INTERRUPTED, and
 * quell_take_reason() has the reason there. Several are delivered in the order they were sent.
 *
 * Any thread may call this, for itself too. It never waits for the target. The reason stays the caller's: a reference is
 * taken for the way. If `receipt` is not NULL, a receipt is written there, to be freed with quell_receipt_free(); if the
 * call fails, NULL is.
 *
 * QUELL_OK: sent. QUELL_EXITED: the thread has ended. QUELL_INVALID: the reason is NULL, or the id 0.
 */
quell_status quell_interrupt(quell_thread_id id,
                             quell_reason *reason,
                             quell_receipt **receipt);

/**
 * quell_interrupt() of the process's main thread.
 */
quell_status quell_interrupt_main(quell_reason *reason, quell_receipt **receipt);

/**
 * Interrupts a thread by its id; or, if the reason is NULL, takes back all that is pending in it. The safe form of CPython's
 * PyThreadState_SetAsyncExc().
 *
 * Returns how many threads that concerned: 1, or 0 if no living thread has the id. It is never more, and never a stranger,
 * because ids are not reused. The reason stays the caller's. Does not block.
 */
size_t quell_set_async_exc(quell_thread_id id,
                           quell_reason *reason);

/**
 * Delivers an interrupt that is pending in the calling thread, unless a mask or shield holds. The interruption point for code
 * that does not wait: put it into long loops. Costs a few nanoseconds when nothing is pending. Does not block.
 *
 * QUELL_OK: nothing was delivered. QUELL_INTERRUPTED.
 */
QUELL_MUST_USE
quell_status quell_checkpoint(void);

/**
 * What became of the interrupt so far. QUELL_PENDING of NULL. Does not block.
 */
quell_outcome quell_receipt_state(const quell_receipt *receipt);

/**
 * Waits until the interrupt was delivered or withdrawn, or its target has ended, and writes which to `outcome`, unless that
 * is NULL.
 *
 * Interruption point of the waiting thread, if it has to wait. QUELL_OK, QUELL_INTERRUPTED, QUELL_TIMED_OUT: the last two
 * change nothing about the interrupt that was asked after.
 */
QUELL_MUST_USE
quell_status quell_receipt_wait(const quell_receipt *receipt,
                                quell_outcome *outcome,
                                quell_deadline deadline);

/**
 * Takes the interrupt back. Does not block.
 *
 * QUELL_OK: it was pending, and never will be delivered. QUELL_TOO_LATE: it had come to its end, as quell_receipt_state()
 * tells.
 */
quell_status quell_receipt_withdraw(const quell_receipt *receipt);

/**
 * Frees a receipt. NULL is ignored. Does not block. Always QUELL_OK.
 */
quell_status quell_receipt_free(quell_receipt *receipt);

/**
 * Begins a mask: inside, interrupts are delivered only where the thread blocks, and quell_checkpoint() delivers none. For a
 * stretch of code that must not be cut in the middle, but may wait. Scopes nest. Does not block.
 */
quell_scope quell_mask_begin(void);

/**
 * Begins a shield: inside, interrupts are not delivered at all; every wait is as if nobody had sent any. For cleanup that
 * must finish. Scopes nest. Does not block.
 */
quell_scope quell_shield_begin(void);

/**
 * Begins a stretch in which the masks and shields around it do not hold. Scopes nest. Does not block, and delivers nothing
 * itself.
 */
quell_scope quell_unmask_begin(void);

/**
 * Ends a mask, a shield or an unmask, the innermost scope of the calling thread. Does not block.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED: the scope is ended too, and an interrupt was delivered that it had held
 * back. QUELL_MISNESTED: nothing has changed; the scope is not the innermost one, or has ended, or belongs to another
 * thread. QUELL_INVALID: nothing has changed; it is a time limit, which quell_timeout_end() ends.
 */
quell_status quell_scope_end(quell_scope scope);

/**
 * How many scopes the calling thread is in, of all kinds. Does not block.
 */
size_t quell_scope_depth(void);

/**
 * Begins a time limit: at the deadline the calling thread is interrupted, wherever it is inside the scope, as by
 * quell_interrupt(), once. The interrupt is delivered inside the scope or never: quell_timeout_end() takes back one that was
 * not, so a limit ends nothing but its own code, however late it comes. `name` is for messages and is copied; it may be NULL.
 *
 * Scopes nest, with masks and shields too, which hold this interrupt back as any other. At QUELL_NOW the first
 * interruption point is interrupted; at QUELL_FOREVER none, until quell_timeout_reschedule(). Does not block.
 *
 *     quell_scope limit = quell_timeout_begin(quell_after(QUELL_SECONDS(2)), "request");
 *     quell_status status = answer(request);          // returns what its calls return
 *     status = quell_timeout_end(limit, status);      // QUELL_TIMED_OUT, if it was the limit that ended it
 *
 * Returns the scope, for quell_timeout_end().
 */
quell_scope quell_timeout_begin(quell_deadline deadline,
                                const char *name);

/**
 * Ends a time limit, the innermost scope of the calling thread, with what came out of the code inside. Afterwards nothing that
 * the limit has sent is pending, and it sends nothing more. Does not block; no interruption point.
 *
 * Returns what there is to pass on. QUELL_OK if `status` is that, whatever the time. QUELL_TIMED_OUT if `status` is another, and
 * the limit's interrupt was delivered inside; quell_last_error() names the limit. Otherwise `status` itself: the interrupt of
 * somebody else, or of an outer limit, stays what it is.
 *
 * QUELL_MISNESTED: nothing has changed; the scope is not the innermost one, or has ended, or belongs to another thread.
 * QUELL_INVALID: nothing has changed; the scope is no time limit, or `status` no status.
 */
quell_status quell_timeout_end(quell_scope scope,
                               int32_t status);

/**
 * Whether the calling thread is in this time limit, and its interrupt was delivered inside: tells whose interrupt it was that
 * a call has just returned with, where limits nest. Does not block.
 */
bool quell_timeout_reached(quell_scope scope);

/**
 * Gives a time limit of the calling thread another deadline. Does not block.
 *
 * QUELL_OK. QUELL_TOO_LATE: the old one has passed, and its interrupt was sent. QUELL_MISNESTED: the scope has ended, or belongs
 * to another thread. QUELL_INVALID: it is no time limit.
 */
quell_status quell_timeout_reschedule(quell_scope scope,
                                      quell_deadline deadline);

/**
 * Makes a free Lock, to be freed with quell_lock_free(). Does not block.
 */
quell_lock *quell_lock_new(void);

/**
 * Makes a free RLock, to be freed with quell_lock_free(). Does not block.
 */
quell_lock *quell_rlock_new(void);

/**
 * Takes the lock; waits for it until the deadline.
 *
 * Interruption point, if it has to wait. QUELL_OK: the calling thread has it. QUELL_INTERRUPTED, QUELL_TIMED_OUT: it does
 * not. QUELL_DEADLOCK: it is a Lock, and the calling thread has it already; or, with quell_set_detection(), the wait would never
 * end.
 */
QUELL_MUST_USE
quell_status quell_lock_acquire(quell_lock *lock,
                                quell_deadline deadline);

/**
 * quell_lock_acquire(), which this header makes this, called at `place`: words for reports of deadlocks, which must stay as long as
 * the process lives, such as "main.c:12". NULL: none.
 */
QUELL_MUST_USE
quell_status quell_lock_acquire_at(quell_lock *lock,
                                   quell_deadline deadline,
                                   const char *place);

/**
 * Takes the lock if it is free, or an RLock of the calling thread. Does not block; no interruption point.
 *
 * QUELL_OK: the calling thread has it. QUELL_BUSY: it is taken, perhaps by the calling thread.
 */
QUELL_MUST_USE
quell_status quell_lock_try_acquire(quell_lock *lock);

/**
 * quell_lock_try_acquire(), which this header makes this, called at `place`; see quell_lock_acquire_at().
 */
QUELL_MUST_USE
quell_status quell_lock_try_acquire_at(quell_lock *lock,
                                       const char *place);

/**
 * Releases the lock, once. Does not block; no interruption point.
 *
 * QUELL_OK. QUELL_NOT_OWNER: the calling thread does not have it, and nothing has changed.
 */
quell_status quell_lock_release(quell_lock *lock);

/**
 * Whether the calling thread has the lock. Does not block.
 */
bool quell_lock_is_owned(const quell_lock *lock);

/**
 * Frees a lock that nobody has or waits for. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody has it or waits for it; it was not freed.
 */
quell_status quell_lock_free(quell_lock *lock);

/**
 * Makes a condition, to be freed with quell_condition_free(). Does not block.
 */
quell_condition *quell_condition_new(void);

/**
 * Releases the lock, waits until it is notified, and takes the lock again: an RLock as often as it was taken. The calling
 * thread must have it, and has it again when this returns, however that ends. Taking it again may take longer than until
 * the deadline, and is no interruption point.
 *
 * Interruption point. QUELL_OK: notified. QUELL_INTERRUPTED, QUELL_TIMED_OUT: not. QUELL_NOT_OWNER: the calling thread does
 * not have the lock.
 */
QUELL_MUST_USE
quell_status quell_condition_wait(quell_condition *condition,
                                  quell_lock *lock,
                                  quell_deadline deadline);

/**
 * Wakes the `count` threads that have waited longest, or as many as there are. Best called with the lock held, or after it
 * was held to make the change. Does not block; no interruption point.
 */
quell_status quell_condition_notify(quell_condition *condition,
                                    size_t count);

/**
 * Wakes every thread that waits now. Does not block; no interruption point.
 */
quell_status quell_condition_notify_all(quell_condition *condition);

/**
 * Frees a condition that nobody waits for. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
 */
quell_status quell_condition_free(quell_condition *condition);

/**
 * Makes a Semaphore with so many permits to begin with, to be freed with quell_semaphore_free(). Does not block. NULL if it
 * is 2 to the power of 30 or more.
 */
quell_semaphore *quell_semaphore_new(uint32_t permits);

/**
 * Makes a BoundedSemaphore with so many permits, never more, to be freed with quell_semaphore_free(). Does not block. NULL
 * if it is 2 to the power of 30 or more.
 */
quell_semaphore *quell_bounded_semaphore_new(uint32_t permits);

/**
 * Takes `count` permits at once; waits for them until the deadline. Threads are served in the order they came, but somebody
 * who comes along may be faster.
 *
 * Interruption point, if it has to wait. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken. QUELL_INVALID: there
 * never can be so many.
 */
QUELL_MUST_USE
quell_status quell_semaphore_acquire(quell_semaphore *semaphore,
                                     uint32_t count,
                                     quell_deadline deadline);

/**
 * Takes `count` permits at once if they are there. Does not block; no interruption point.
 *
 * QUELL_OK. QUELL_BUSY: none was taken. QUELL_INVALID: there never can be so many.
 */
QUELL_MUST_USE quell_status quell_semaphore_try_acquire(quell_semaphore *semaphore, uint32_t count);

/**
 * Gives `count` permits back, or adds them, and wakes who waits for them. Any thread. Does not block; no interruption point.
 *
 * QUELL_OK. QUELL_OVERFLOW: a bounded semaphore would have more than at first, or a plain one 2 to the power of 30; none
 * was given back.
 */
quell_status quell_semaphore_release(quell_semaphore *semaphore,
                                     uint32_t count);

/**
 * How many permits nobody has. Out of date as soon as it is known. Does not block.
 */
uint32_t quell_semaphore_value(const quell_semaphore *semaphore);

/**
 * Frees a semaphore that nobody waits for, whoever has permits. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
 */
quell_status quell_semaphore_free(quell_semaphore *semaphore);

/**
 * Makes a clear event, to be freed with quell_event_free(). Does not block.
 */
quell_event *quell_event_new(void);

/**
 * Waits until the event is set, or the deadline.
 *
 * Interruption point, if it has to wait. QUELL_OK: it was set. QUELL_INTERRUPTED, QUELL_TIMED_OUT.
 */
QUELL_MUST_USE quell_status quell_event_wait(quell_event *event, quell_deadline deadline);

/**
 * Sets the event, and wakes everybody who waits for it. No effect if it is set. Does not block; no interruption point.
 */
quell_status quell_event_set(quell_event *event);

/**
 * Clears the event. No effect if it is clear. Does not block; no interruption point.
 */
quell_status quell_event_clear(quell_event *event);

/**
 * Whether the event is set. Does not block.
 */
bool quell_event_is_set(const quell_event *event);

/**
 * Frees an event that nobody waits for. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody waits for it; it was not freed.
 */
quell_status quell_event_free(quell_event *event);

/**
 * Makes a barrier for so many threads, to be freed with quell_barrier_free(). The last to arrive calls `action(argument)`,
 * unless that is NULL. Does not block. NULL if `parties` is 0.
 */
quell_barrier *quell_barrier_new(uint32_t parties,
                                 quell_action action,
                                 void *argument);

/**
 * Waits until all have arrived, and writes which one this was to `index`, unless that is NULL: 0 for the first, the number
 * of parties less one for the last, which has run the action.
 *
 * Interruption point, if it has to wait. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the barrier is broken by that, unlike
 * with other calls. QUELL_BROKEN.
 */
QUELL_MUST_USE
quell_status quell_barrier_wait(quell_barrier *barrier,
                                size_t *index,
                                quell_deadline deadline);

/**
 * Breaks the barrier: all who wait, and all who come, get QUELL_BROKEN. Does not block; no interruption point.
 */
quell_status quell_barrier_abort(quell_barrier *barrier);

/**
 * Makes the barrier as new: who waits gets QUELL_BROKEN, who comes begins a new round. Does not block; no interruption
 * point.
 */
quell_status quell_barrier_reset(quell_barrier *barrier);

/**
 * How many have arrived and wait. Out of date as soon as it is known. Does not block.
 */
uint32_t quell_barrier_waiting(const quell_barrier *barrier);

/**
 * Frees a barrier that nobody waits at. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody waits at it; it was not freed.
 */
quell_status quell_barrier_free(quell_barrier *barrier);

/**
 * Makes a queue that takes `capacity` items at most, to be freed with quell_queue_free(). QUELL_UNBOUNDED: any number. 0:
 * none; each item goes from the hands of a putter into those of a getter, and whoever comes first waits for the other.
 * `destroy` is called with each item that is left in the end; NULL: nothing is. Does not block.
 */
quell_queue *quell_queue_new(size_t capacity,
                             quell_destroy destroy);

/**
 * Makes a queue from which the item that was put last is got first; otherwise as quell_queue_new(). Does not block.
 */
quell_queue *quell_lifo_queue_new(size_t capacity,
                                  quell_destroy destroy);

/**
 * Makes a queue from which the item is got first that comes before all others, as `compare` says, which is called with
 * `context`; of equals, the one that was put first. Otherwise as quell_queue_new(). Does not block. NULL if `compare` is NULL.
 *
 * Items that wait for room are not yet in the queue, whatever their priority.
 */
quell_queue *quell_priority_queue_new(size_t capacity,
                                      quell_compare compare,
                                      void *context,
                                      quell_destroy destroy);

/**
 * Puts an item; waits for room until the deadline.
 *
 * Interruption point, if it has to wait. QUELL_OK: the item is the queue's, or a getter has it. QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT, QUELL_SHUT_DOWN: it is still the caller's.
 */
QUELL_MUST_USE
quell_status quell_queue_put(quell_queue *queue,
                             void *item,
                             quell_deadline deadline);

/**
 * Puts an item if there is room, or if somebody waits for one. Does not block; no interruption point.
 *
 * QUELL_OK: the item is the queue's, or a getter has it. QUELL_FULL, QUELL_SHUT_DOWN: it is still the caller's.
 */
QUELL_MUST_USE
quell_status quell_queue_try_put(quell_queue *queue,
                                 void *item);

/**
 * Takes the next item and writes it to `item`, which must not be NULL; waits for one until the deadline.
 *
 * Interruption point, if it has to wait. QUELL_OK: the item is the caller's. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was
 * taken. QUELL_SHUT_DOWN: and the queue is empty. Where no item was taken, `item` is not written to.
 */
QUELL_MUST_USE
quell_status quell_queue_get(quell_queue *queue,
                             void **item,
                             quell_deadline deadline);

/**
 * Takes the next item, if there is one or somebody waits to put one, and writes it to `item`, which must not be NULL. Does
 * not block; no interruption point.
 *
 * QUELL_OK: the item is the caller's. QUELL_EMPTY. QUELL_SHUT_DOWN: and the queue is empty.
 */
QUELL_MUST_USE
quell_status quell_queue_try_get(quell_queue *queue,
                                 void **item);

/**
 * How many items are in the queue; those that somebody waits to put do not count. Out of date as soon as it is known. Does
 * not block.
 */
size_t quell_queue_size(const quell_queue *queue);

/**
 * Reports that the work on an item that was got is done. When all are, quell_queue_join() returns. Does not block; no
 * interruption point.
 *
 * QUELL_OK. QUELL_OVERFLOW: called more often than items were put.
 */
quell_status quell_queue_task_done(quell_queue *queue);

/**
 * Waits until every item that was put was reported done, or the deadline.
 *
 * Interruption point, if it has to wait. QUELL_OK, QUELL_INTERRUPTED, QUELL_TIMED_OUT.
 */
QUELL_MUST_USE quell_status quell_queue_join(quell_queue *queue, quell_deadline deadline);

/**
 * Shuts the queue down: every put fails from now on, and every get as soon as the queue is empty, with QUELL_SHUT_DOWN. Who
 * waits is woken; who waits to put keeps its item. With `immediate`, the items that are left go to the destructor, and
 * count as done. Does not block; no interruption point.
 */
quell_status quell_queue_shutdown(quell_queue *queue,
                                  bool immediate);

/**
 * Frees a queue that nobody waits at. The items that are left go to the destructor. NULL is ignored. Does not block.
 *
 * QUELL_OK. QUELL_BUSY: somebody waits at it; it was not freed. Shut it down first.
 */
quell_status quell_queue_free(quell_queue *queue);

/**
 * Switches the detection of deadlocks, for the whole process, from now on: one of quell_detection, but
 * QUELL_DETECTION_ASK. Does not block.
 *
 * It is off at first, because on, acquiring and releasing a lock take some four times as long. Locks that were acquired before it
 * was switched on, and not released since, have no holder that it knows of: switch it on before the threads start. What is
 * found are circles of quell_lock_acquire() and quell_join(): all of them, at once, and nothing else.
 *
 * QUELL_OK. QUELL_INVALID: there is no such setting.
 */
quell_status quell_set_detection(int32_t detection);

/**
 * Switches the detection of deadlocks on, and has `judge` asked what to do about each. `destroy` is called with `context` when
 * another setting has taken its place and nobody is in `judge` any more; it may be NULL. Does not block.
 *
 * QUELL_OK. QUELL_INVALID: `judge` is NULL; nothing has changed, and the context is still the caller's.
 */
quell_status quell_set_detection_asking(quell_judge judge,
                                        void *context,
                                        quell_destroy destroy);

/**
 * What was set last. Does not block.
 */
quell_detection quell_get_detection(void);

/**
 * Has `reporter` told of every deadlock that is found, before anything is done about it. NULL, as at first: those that are left as
 * they are go to standard error. `destroy` is called with `context` when another has taken its place and nobody is in `reporter`
 * any more; it may be NULL. Does not block. Always QUELL_OK.
 */
quell_status quell_set_reporter(quell_reporter reporter,
                                void *context,
                                quell_destroy destroy);

/**
 * Gives a lock a name, by which reports call it; it is copied. NULL takes it away. Does not block.
 *
 * QUELL_OK. QUELL_INVALID: the lock is NULL.
 */
quell_status quell_lock_set_name(quell_lock *lock, const char *name);

/**
 * Who waits for whom, of all threads that quell knows, whether detection is on or not: one of quell_format; anything else is
 * QUELL_TEXT. Each line was true when it was looked at; threads go on meanwhile. Blocks for moments only.
 *
 * The string is the caller's, to be freed with quell_text_free(). NULL only for want of memory.
 */
char *quell_waits(int32_t format);

/**
 * A deadlock in words, as JSON or as a graph, as quell_waits(). NULL of NULL. Does not block.
 */
char *quell_deadlock_show(const quell_deadlock *deadlock, int32_t format);

/**
 * Frees a string that quell_waits() or quell_deadlock_show() has returned. NULL is ignored. Does not block.
 */
void quell_text_free(char *text);

/**
 * How many threads a deadlock has. 0 of NULL. Does not block.
 */
size_t quell_deadlock_count(const quell_deadlock *deadlock);

/**
 * The thread at a place of the circle, counted from 0. 0 if there is none. Does not block.
 */
quell_thread_id quell_deadlock_thread(const quell_deadlock *deadlock, size_t at);

/**
 * Whether the wait at a place of the circle has a deadline, which will end it. Does not block.
 */
bool quell_deadlock_is_limited(const quell_deadlock *deadlock, size_t at);

/**
 * Takes the deadlock because of which a call of the calling thread has failed last: after QUELL_DEADLOCK. NULL if there was none,
 * it was taken, or the thread would have waited for itself alone, which is told without detection. The caller has it now, to be
 * freed with quell_deadlock_free(). Does not block.
 */
quell_deadlock *quell_take_deadlock(void);

/**
 * Frees a deadlock that quell_take_deadlock() has returned. NULL is ignored. Does not block. Always QUELL_OK.
 */
quell_status quell_deadlock_free(quell_deadlock *deadlock);

/**
 * Reads up to `size` bytes, as read(2): waits until there is something to read, or the deadline, and writes how much was read
 * to `count`, unless that is NULL. 0 is the end. With QUELL_NOW it reads what is there. A signal that the program handles
 * does not end it.
 *
 * Interruption point. QUELL_OK: bytes that were read are never discarded, the interrupt stays pending. QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT: nothing was read. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_read(int fd,
                        void *buffer,
                        size_t size,
                        size_t *count,
                        quell_deadline deadline);

/**
 * Writes up to `size` bytes, as write(2): waits until some can be written, or the deadline, and writes how many were to
 * `count`, unless that is NULL; that may be fewer. With QUELL_NOW it writes what there is room for. A signal that the
 * program handles does not end it; SIGPIPE is sent as ever.
 *
 * Interruption point. QUELL_OK: bytes that were written are always told, the interrupt stays pending. QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT: nothing was written. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_write(int fd,
                         const void *buffer,
                         size_t size,
                         size_t *count,
                         quell_deadline deadline);

/**
 * quell_read() into several buffers, one after the other, as readv(2). Of more than 1024 of them, the others are left alone.
 *
 * Interruption point. As quell_read().
 */
QUELL_MUST_USE
quell_status quell_readv(int fd,
                         const struct iovec *buffers,
                         int length,
                         size_t *count,
                         quell_deadline deadline);

/**
 * quell_write() from several buffers, one after the other, as writev(2). Of more than 1024 of them, the others are not
 * written.
 *
 * Interruption point. As quell_write().
 */
QUELL_MUST_USE
quell_status quell_writev(int fd,
                          const struct iovec *buffers,
                          int length,
                          size_t *count,
                          quell_deadline deadline);

/**
 * Waits until one of `count` descriptors is ready, as poll(2), or the deadline, and writes how many are to `ready`, unless
 * that is NULL. With QUELL_NOW it only looks. A signal that the program handles does not end it.
 *
 * Interruption point. QUELL_OK: one at least. QUELL_INTERRUPTED, QUELL_TIMED_OUT. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_poll(struct pollfd *fds,
                        nfds_t count,
                        size_t *ready,
                        quell_deadline deadline);

/**
 * Waits until an epoll has events, as epoll_wait(2), or the deadline; writes `capacity` of them at most to `events`, and how
 * many there are to `count`, unless that is NULL. With QUELL_NOW it only looks. A signal that the program handles does not
 * end it.
 *
 * Interruption point. QUELL_OK: one at least. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken; those of an edge-triggered
 * epoll are still there. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_epoll_wait(int epoll,
                              struct epoll_event *events,
                              int capacity,
                              size_t *count,
                              quell_deadline deadline);

/**
 * Takes the next connection of a listening socket, as accept4(2): waits for one until the deadline. Writes its descriptor to
 * `accepted`, which must not be NULL, and the peer's address to `address`, unless that is NULL: `length` says how much room is
 * there, and then how long the whole address is. `flags` are accept4's, such as SOCK_CLOEXEC. With QUELL_NOW it takes one that
 * is there.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: none was taken, the next one stays in the queue.
 * QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_accept(int socket,
                          struct sockaddr *address,
                          uint32_t *length,
                          int flags,
                          int *accepted,
                          quell_deadline deadline);

/**
 * Connects a socket, as connect(2): waits until the connection stands, or the deadline.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: a connection whose making had begun goes on in the kernel,
 * and may stand already; quell_connected() waits for the rest, or close the socket. Over Unix sockets nothing goes on.
 * QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_connect(int socket,
                           const struct sockaddr *address,
                           uint32_t length,
                           quell_deadline deadline);

/**
 * Waits for a connection that is being made, until the deadline: after a quell_connect() that was interrupted, or a connect() of
 * a socket that does not block.
 *
 * Interruption point. QUELL_OK: it stands. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the making goes on. QUELL_SYSTEM: it has failed;
 * errno says why.
 */
QUELL_MUST_USE
quell_status quell_connected(int socket,
                             quell_deadline deadline);

/**
 * Receives up to `size` bytes, as recv(2): waits until there is something, or the deadline, and writes how much it was to
 * `count`, unless that is NULL. 0 is the end of a stream. With QUELL_NOW it receives what is there. With MSG_WAITALL, what has
 * come when an interrupt or the deadline does is QUELL_OK.
 *
 * Interruption point. QUELL_OK: bytes that were received are never discarded, the interrupt stays pending. QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT: nothing was received. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_recv(int socket,
                        void *buffer,
                        size_t size,
                        int flags,
                        size_t *count,
                        quell_deadline deadline);

/**
 * quell_recv(), and from whom, as recvfrom(2): writes the address to `address`, unless that is NULL; `length` says how much room
 * is there, and then how long the whole address is.
 *
 * Interruption point. As quell_recv().
 */
QUELL_MUST_USE
quell_status quell_recvfrom(int socket,
                            void *buffer,
                            size_t size,
                            int flags,
                            struct sockaddr *address,
                            uint32_t *length,
                            size_t *count,
                            quell_deadline deadline);

/**
 * quell_recv() with everything that a message can have: several buffers, an address, ancillary data, as recvmsg(2).
 *
 * Interruption point. As quell_recv(). Descriptors that a message brings come with QUELL_OK only.
 */
QUELL_MUST_USE
quell_status quell_recvmsg(int socket,
                           struct msghdr *message,
                           int flags,
                           size_t *count,
                           quell_deadline deadline);

/**
 * Sends up to `size` bytes, as send(2) with MSG_NOSIGNAL: waits until there is room for some, or the deadline, and writes how
 * many were sent to `count`, unless that is NULL; that may be fewer. With QUELL_NOW it sends what there is room for. If the peer
 * is gone, QUELL_SYSTEM and EPIPE; there is no SIGPIPE.
 *
 * Interruption point. QUELL_OK: bytes that were sent are always told, the interrupt stays pending. QUELL_INTERRUPTED,
 * QUELL_TIMED_OUT: nothing was sent. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_send(int socket,
                        const void *buffer,
                        size_t size,
                        int flags,
                        size_t *count,
                        quell_deadline deadline);

/**
 * quell_send() to this address, as sendto(2).
 *
 * Interruption point. As quell_send().
 */
QUELL_MUST_USE
quell_status quell_sendto(int socket,
                          const void *buffer,
                          size_t size,
                          int flags,
                          const struct sockaddr *address,
                          uint32_t length,
                          size_t *count,
                          quell_deadline deadline);

/**
 * quell_send() with everything that a message can have, as sendmsg(2).
 *
 * Interruption point. As quell_send(). Descriptors go with QUELL_OK only.
 */
QUELL_MUST_USE
quell_status quell_sendmsg(int socket,
                           const struct msghdr *message,
                           int flags,
                           size_t *count,
                           quell_deadline deadline);

/**
 * Opens a file, as open(2) with O_CLOEXEC, and writes its descriptor to `fd`, which must not be NULL. Waits for what has to
 * wait for its other end, such as a FIFO, until the deadline. `mode` counts if the file is made.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: nothing was opened; a file that was to be made may have
 * been. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_open(const char *path,
                        int flags,
                        mode_t mode,
                        int *fd,
                        quell_deadline deadline);

/**
 * Locks a file, or frees it, as flock(2): waits while others have it, until the deadline. With QUELL_NOW, or LOCK_NB in
 * `operation`, it only tries; with the latter, QUELL_SYSTEM and EWOULDBLOCK say that others have it.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: it is not locked by this; a lock that was to be converted
 * may be lost, as flock(2) says. QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_flock(int fd,
                         int operation,
                         quell_deadline deadline);

/**
 * Locks a range of a file, or frees it, as fcntl(2) with `command` F_SETLKW, or F_OFD_SETLKW for a lock of the open file:
 * waits while others have it, until the deadline. With QUELL_NOW it only tries.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: nothing has changed. QUELL_INVALID: another command.
 * QUELL_SYSTEM: errno says why; EDEADLK, if processes would wait for each other.
 */
QUELL_MUST_USE
quell_status quell_fcntl_lock(int fd,
                              int command,
                              const struct flock *range,
                              quell_deadline deadline);

/**
 * Waits for a child process, as waitpid(2), or until the deadline; writes which one it was to `waited` and its status to
 * `status`, unless those are NULL. With QUELL_NOW it only looks. With WNOHANG in `options` too; there, QUELL_OK and a
 * `waited` of 0 say that there was nothing. A signal that the program handles does not end it.
 *
 * Interruption point. QUELL_OK. QUELL_INTERRUPTED, QUELL_TIMED_OUT: the child is still there to be waited for.
 * QUELL_SYSTEM: errno says why.
 */
QUELL_MUST_USE
quell_status quell_waitpid(pid_t child,
                           int *status,
                           int options,
                           pid_t *waited,
                           quell_deadline deadline);

/**
 * Makes any other system call, by its number (`SYS_accept4`, say), with `arguments`, which has six places; and writes what the
 * kernel answered to `result`, unless that is NULL. The deadline is kept by quell; one that has passed keeps the call from
 * being made. A call that a signal of the program has ended with EINTR is made again with the same arguments.
 *
 * Interruption point. QUELL_OK: the call has done something, if only in part, and the interrupt stays pending.
 * QUELL_INTERRUPTED, QUELL_TIMED_OUT: it has done nothing, as far as the kernel keeps that promise for the call: the book
 * has a table. QUELL_SYSTEM: errno says why.
 *
 * The call must return in this thread to where it was made: no fork, vfork, clone that shares the stack, rt_sigreturn.
 */
QUELL_MUST_USE
quell_status quell_syscall(long number,
                           const size_t *arguments,
                           ptrdiff_t *result,
                           quell_deadline deadline);

/**
 * Chooses the signal that ends system calls, instead of SIGURG: a real-time signal, or a standard one whose default is to be
 * ignored. To be called before the first system call is made through quell, once. A handler that the program has for it
 * goes on being called. Does not block.
 *
 * QUELL_OK. QUELL_INVALID: it is too late, or there is no such signal; nothing has changed.
 */
quell_status quell_set_signal(int signal);

/**
 * The signal that ends system calls; installs its handler, if that has not been done. 0 if it cannot be had. Do not block
 * it in threads that are to be interrupted in system calls. Does not block.
 */
int quell_get_signal(void);

/**
 * What fork requires in the child's only thread, if the fork went around libc. After fork() it is done already, and doing it
 * again does no harm. Does not block.
 */
void quell_after_fork_child(void);

/**
 * Keeps a lock through every fork from now on, until it is freed: fork() waits for the few instructions that another thread may
 * need to finish changing it, and in the child nobody waits for it any more when fork() returns. Who holds it, holds it there
 * too. Keeping it again changes nothing. Does not block for longer than a fork takes.
 */
quell_status quell_lock_keep(quell_lock *lock);

/**
 * The same as quell_lock_keep(), for a condition.
 */
quell_status quell_condition_keep(quell_condition *condition);

/**
 * The same as quell_lock_keep(), for a semaphore.
 */
quell_status quell_semaphore_keep(quell_semaphore *semaphore);

/**
 * The same as quell_lock_keep(), for an event.
 */
quell_status quell_event_keep(quell_event *event);

/**
 * The same as quell_lock_keep(), for a barrier.
 */
quell_status quell_barrier_keep(quell_barrier *barrier);

/**
 * The same as quell_lock_keep(), for a queue. The items stay, and the queue is whole.
 */
quell_status quell_queue_keep(quell_queue *queue);

/**
 * In the child of a fork: the lock is free, whoever had it or waited, the calling thread included.
 */
quell_status quell_lock_after_fork(quell_lock *lock);

/**
 * In the child of a fork: nobody waits for the condition.
 */
quell_status quell_condition_after_fork(quell_condition *condition);

/**
 * In the child of a fork: nobody waits for the semaphore. Permits that other threads had stay taken; give them back with
 * quell_semaphore_release().
 */
quell_status quell_semaphore_after_fork(quell_semaphore *semaphore);

/**
 * In the child of a fork: nobody waits for the event. Set or not, it stays as it is.
 */
quell_status quell_event_after_fork(quell_event *event);

/**
 * In the child of a fork: the barrier is as new.
 */
quell_status quell_barrier_after_fork(quell_barrier *barrier);

/**
 * In the child of a fork: nobody waits at the queue. Its items stay. A queue that another thread was in the middle of
 * changing at the very moment of the fork stays locked, unless it is kept: see quell_queue_keep().
 */
quell_status quell_queue_after_fork(quell_queue *queue);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* QUELL_H */

/*
 * Calls tell where they are made, for reports of deadlocks, unless QUELL_NO_PLACES is defined before this file is included. The
 * functions themselves are there too, for pointers to them: `&quell_lock_acquire`.
 */
#if !defined(QUELL_NO_PLACES)
#define QUELL_WORDS_(x) #x
#define QUELL_WORDS(x) QUELL_WORDS_(x)
/** Where this is in the program: "file.c:12". */
#define QUELL_PLACE __FILE__ ":" QUELL_WORDS(__LINE__)
#define quell_lock_acquire(lock, deadline) quell_lock_acquire_at(lock, deadline, QUELL_PLACE)
#define quell_lock_try_acquire(lock) quell_lock_try_acquire_at(lock, QUELL_PLACE)
#define quell_join(thread, result, deadline) quell_join_at(thread, result, deadline, QUELL_PLACE)
#endif
