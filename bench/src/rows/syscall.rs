//! System calls: what it costs to make one that can be interrupted, beside the bare call; and to interrupt one, beside the
//! least that it can cost: a signal, and EINTR.

use super::interrupt::{Pair, blocked, rounds};
use crate::harness::stats::tail;
use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use quell::{Wait, syscall};
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::sync::Arc;

pub(super) fn benches() -> Vec<Bench> {
    vec![
        Bench {
            name: "syscall/call".to_owned(),
            what: "a system call that does nothing (`getppid`), above the bare one".to_owned(),
            place: Place::Pinned,
            at_most: ANY,
            metrics: vec![Metric::time(Goal::Above(5.0))],
            sides: vec![
                Side::single("quell", |count| {
                    let wait = Wait::new();
                    for _ in 0..count {
                        // SAFETY: takes nothing and changes nothing.
                        let parent = unsafe { syscall::call(libc::SYS_getppid, [0; 6], &wait) };
                        black_box(parent.unwrap());
                    }
                }),
                Side::single("libc", |count| {
                    for _ in 0..count {
                        // SAFETY: as above.
                        black_box(unsafe { libc::syscall(libc::SYS_getppid) });
                    }
                }),
            ],
        },
        Bench {
            name: "syscall/read".to_owned(),
            what: "from `interrupt()` until a thread on another processor is back from a `read`"
                .to_owned(),
            place: Place::Pinned,
            at_most: ANY,
            metrics: vec![
                Metric::named("p50", Goal::Ratio(1.25)),
                Metric::named("p99", Goal::None),
                Metric::named("longest", Goal::None),
            ],
            sides: vec![
                blocked(|| {
                    let (reader, writer) = std::io::pipe().unwrap();
                    move || {
                        let _open = &writer;
                        assert!(syscall::read(&reader, &mut [0], &Wait::new()).is_err());
                    }
                }),
                signal(),
            ],
        },
    ]
}

extern "C" fn nothing(_: libc::c_int) {}

/// A thread in a bare `read`, and a bare signal.
fn signal() -> Side {
    Side::new("pthread_kill", |plan| {
        // SAFETY: a handler that does nothing, without SA_RESTART.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        }
        let rounds = rounds(plan);
        let pair = Arc::new(Pair::default());
        let (reader, _writer) = std::io::pipe().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let target = std::thread::spawn({
            let pair = Arc::clone(&pair);
            move || {
                // SAFETY: asks who this is.
                tell.send(unsafe { libc::pthread_self() } as usize).unwrap();
                pair.target(rounds, || {
                    let mut byte = 0_u8;
                    // SAFETY: reads into a local.
                    let ended =
                        unsafe { libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1) };
                    assert_eq!(ended, -1);
                })
            }
        });
        let thread = told.recv().unwrap() as libc::pthread_t;
        pair.wake(rounds, || {
            // SAFETY: the target is in its last round at least.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
        });
        tail(target.join().unwrap())
    })
}
