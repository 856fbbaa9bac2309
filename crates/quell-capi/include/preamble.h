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
