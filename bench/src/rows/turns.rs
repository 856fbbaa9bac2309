//! Two threads that take turns, through a thing for each direction that one waits for and the other sets off.

use crate::harness::Side;
use std::time::Instant;

/// Time for there and back again. `make` makes both things, `wait` waits for one and uses it up, `go` sets it off.
pub(super) fn hand_off<T: Sync + 'static>(
    name: &'static str,
    make: impl Fn() -> (T, T) + 'static,
    wait: fn(&T),
    go: fn(&T),
) -> Side {
    Side::several(name, move |count| {
        let (there, back) = make();
        let mut turns = 0;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..count {
                    wait(&there);
                    turns += 1;
                    go(&back);
                }
            });
            for _ in 0..count {
                go(&there);
                wait(&back);
            }
        });
        let took = begin.elapsed().as_nanos() as f64;
        assert_eq!(turns, count);
        took
    })
}
