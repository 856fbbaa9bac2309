//! The queue against a sequential model of it: long random sequences of operations, each compared in result and in
//! everything that can be asked afterwards. A failure names the seed that repeats it.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::{GetError, Interrupt, Outcome, PutError, Queue, Wait};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Instant;

/// What the queue is meant to be.
struct Model {
    items: VecDeque<u32>,
    capacity: Option<NonZeroUsize>,
    unfinished: usize,
    shut_down: bool,
}

impl Model {
    fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.items.len() >= capacity.get())
    }

    fn put(&mut self, item: u32, otherwise: &'static str) -> &'static str {
        if self.shut_down {
            return "shut down";
        }
        if self.is_full() {
            return otherwise;
        }
        self.items.push_back(item);
        self.unfinished += 1;
        "put"
    }

    fn get(&mut self, otherwise: &'static str) -> Result<u32, &'static str> {
        self.items.pop_front().ok_or(if self.shut_down { "shut down" } else { otherwise })
    }
}

fn put(result: Result<(), PutError<u32>>, item: u32) -> &'static str {
    let Err(error) = result else { return "put" };
    let what = match &error {
        PutError::Full(_) => "full",
        PutError::ShutDown(_) => "shut down",
        PutError::TimedOut(_) => "timed out",
        PutError::Interrupted(..) => "interrupted",
        PutError::Signalled(_) => "signalled",
    };
    assert_eq!(error.into_item(), item, "the item comes back");
    what
}

fn get(result: Result<u32, GetError>) -> Result<u32, &'static str> {
    result.map_err(|error| match error {
        GetError::Empty => "empty",
        GetError::ShutDown => "shut down",
        GetError::TimedOut => "timed out",
        GetError::Interrupted(_) => "interrupted",
        GetError::Signalled => "signalled",
    })
}

/// A wait that ends at once, in each of its ways; and what that is called.
fn endings(random: &mut Random) -> (Wait, &'static str) {
    let past = Wait::new().until(Instant::now());
    match random.below(4) {
        0 => (past, "timed out"),
        1 => {
            quell::current().interrupt(Interrupt::new(()));
            (past, "interrupted")
        }
        2 => {
            quell::current().interrupt(Interrupt::new(()));
            (past.shielded(), "timed out")
        }
        _ => {
            quell::current().nudge();
            (past.signals(), "signalled")
        }
    }
}

fn run(seed: u64) {
    let mut random = Random::new(seed);
    let capacity = NonZeroUsize::new(random.below(4) as usize);
    let queue = Queue::with_capacity(capacity);
    let mut model = Model { items: VecDeque::new(), capacity, unfinished: 0, shut_down: false };
    for item in 0..60_u32 {
        match random.below(20) {
            0..4 => assert_eq!(put(queue.try_put(item), item), model.put(item, "full")),
            4..8 => {
                let (wait, ending) = endings(&mut random);
                assert_eq!(put(queue.put_with(item, &wait), item), model.put(item, ending));
            }
            8..11 => assert_eq!(get(queue.try_get()), model.get("empty")),
            11..15 => {
                let (wait, ending) = endings(&mut random);
                assert_eq!(get(queue.get_with(&wait)), model.get(ending));
            }
            15..17 => {
                let expected = model.unfinished.checked_sub(1);
                model.unfinished = expected.unwrap_or(0);
                assert_eq!(queue.task_done().is_ok(), expected.is_some());
            }
            17 => {
                let (wait, ending) = endings(&mut random);
                let joined = queue.join_with(&wait);
                assert_eq!(joined.is_ok(), model.unfinished == 0, "{ending}");
            }
            18 => {
                model.capacity = NonZeroUsize::new(random.below(4) as usize);
                queue.set_capacity(model.capacity);
            }
            _ if random.below(4) == 0 => {
                let immediate = random.below(2) == 0;
                model.shut_down = true;
                if immediate {
                    model.unfinished = model.unfinished.saturating_sub(model.items.len());
                    model.items.clear();
                }
                queue.shutdown(immediate);
            }
            _ => {}
        }
        // Nothing that was not delivered has gone, nothing lingers into the next operation.
        quell::current().withdraw_all();
        let _ = quell::thread::sleep_with(&Wait::new().until(Instant::now()).signals());
        assert_eq!(queue.len(), model.items.len());
        assert_eq!(queue.is_empty(), model.items.is_empty());
        assert_eq!(queue.is_full(), model.is_full());
        assert_eq!(queue.capacity(), model.capacity.map(NonZeroUsize::get));
        assert_eq!(queue.unfinished(), model.unfinished);
        assert_eq!(queue.is_shut_down(), model.shut_down);
        let mut seen = Vec::new();
        queue.visit(|item| seen.push(*item));
        assert_eq!(seen, Vec::from(model.items.clone()));
    }
}

#[test]
fn the_queue_is_what_its_model_is() {
    for seed in 0..stress(2_000) {
        let ran = std::panic::catch_unwind(|| run(seed));
        assert!(ran.is_ok(), "with seed {seed}");
    }
}

#[test]
fn an_immediate_shut_down_drops_the_items_outside_the_lock() {
    struct Item<'a>(&'a Queue<Item<'a>>);
    impl Drop for Item<'_> {
        fn drop(&mut self) {
            // Would hang if the queue were locked here.
            assert!(self.0.is_shut_down() && self.0.is_empty());
        }
    }
    // The items refer to the queue they are in, so neither is ever dropped by its owner.
    let queue: &'static Queue<Item<'static>> = Box::leak(Box::new(Queue::unbounded()));
    for _ in 0..3 {
        assert!(queue.put(Item(queue)).is_ok());
    }
    queue.shutdown(true);
    assert!(queue.join().is_ok());
}

#[test]
fn an_interrupt_that_a_put_did_not_need_stays_pending() {
    let queue = Queue::bounded(1);
    let receipt = quell::current().interrupt(Interrupt::new(()));
    queue.put(1).unwrap();
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(receipt.withdraw());
}
