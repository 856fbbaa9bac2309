//! No item is lost, none comes twice, none is dropped twice, whatever happens at once: threads, tasks that give up, selections,
//! interrupts, deadlines, changes of the capacity, shut-downs. `QUELL_STRESS` multiplies the rounds.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::{Random, stress};
use quell::queue::{Fifo, Lifo, Priority, QueueOf};
use quell::{Event, GetError, Interrupt, PutError, Select, Wait, WaitError, thread};
use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

/// What became of each item.
struct Ledger {
    got: Vec<AtomicU8>,
    dropped: Vec<AtomicU8>,
}

/// An item that knows when it is dropped.
struct Item {
    number: usize,
    ledger: Arc<Ledger>,
}

impl Drop for Item {
    fn drop(&mut self) {
        assert_eq!(self.ledger.dropped[self.number].fetch_add(1, SeqCst), 0, "dropped once");
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.number == other.number
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Item) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Item) -> Ordering {
        self.number.cmp(&other.number)
    }
}

impl Ledger {
    fn new(items: usize) -> Arc<Ledger> {
        let zeros = || (0..items).map(|_| AtomicU8::new(0)).collect();
        Arc::new(Ledger { got: zeros(), dropped: zeros() })
    }

    fn take(&self, item: Item) {
        assert_eq!(self.got[item.number].fetch_add(1, SeqCst), 0, "got once");
    }
}

const PUTTERS: usize = 3;
const GETTERS: usize = 3;

/// Puts an item in one of many ways, until it is put.
macro_rules! put_somehow {
    ($queue:expr, $item:expr, $random:expr) => {{
        let mut item = Some($item);
        while let Some(this) = item.take() {
            let soon = Wait::new().timeout(Duration::from_micros($random.below(50)));
            let error = match $random.below(4) {
                0 => $queue.try_put(this),
                1 => $queue.put_with(this, &soon),
                2 => $queue.put(this),
                _ => {
                    let mut slot = Some(this);
                    let wait = if $random.below(2) == 0 { soon } else { Wait::new() };
                    let idle = Event::new();
                    let put = Select::new()
                        .event(&idle, || panic!("nobody sets it"))
                        .put($queue, &mut slot, |put| put.is_ok())
                        .wait_with(&wait);
                    match put {
                        Ok(put) => assert_eq!(put, slot.is_none()),
                        Err(_) => assert!(slot.is_some()),
                    }
                    item = slot;
                    continue;
                }
            };
            match error {
                Ok(()) => {}
                Err(PutError::ShutDown(_)) => panic!("nobody shuts it down while items are put"),
                Err(other) => item = Some(other.into_item()),
            }
        }
    }};
}

/// Gets an item in one of many ways. `None`: not this time; `Some(None)`: shut down and empty.
macro_rules! get_somehow {
    ($queue:expr, $random:expr) => {{
        let soon = Wait::new().timeout(Duration::from_micros($random.below(50)));
        let got = match $random.below(5) {
            0 => $queue.try_get(),
            1 => $queue.get_with(&soon),
            2 => $queue.get(),
            3 => {
                let idle = Event::new();
                let wait = if $random.below(2) == 0 { soon } else { Wait::new() };
                Select::new()
                    .get($queue, |got| got.map_err(|_| GetError::ShutDown))
                    .event(&idle, || panic!("nobody sets it"))
                    .wait_with(&wait)
                    .unwrap_or_else(|error| match error {
                        WaitError::Interrupted(interrupted) => {
                            Err(GetError::Interrupted(interrupted))
                        }
                        _ => Err(GetError::TimedOut),
                    })
            }
            _ => {
                // A task that is polled a few times and given up.
                let mut task = Box::pin($queue.get_async());
                let mut result = Err(GetError::Empty);
                for _ in 0..$random.below(4) {
                    let mut context = Context::from_waker(Waker::noop());
                    if let std::task::Poll::Ready(got) = task.as_mut().poll(&mut context) {
                        result = got;
                        break;
                    }
                    std::thread::yield_now();
                }
                result
            }
        };
        match got {
            Ok(item) => Some(Some(item)),
            Err(GetError::ShutDown) => Some(None),
            Err(_) => None,
        }
    }};
}

macro_rules! run {
    ($Kind:ty, $capacity:expr, $items:expr, $seed:expr) => {{
        let (each, seed): (usize, u64) = ($items, $seed);
        let capacity: Option<usize> = $capacity;
        let queue: Arc<QueueOf<Item, $Kind>> =
            Arc::new(capacity.map_or_else(QueueOf::unbounded, QueueOf::bounded));
        let ledger = Ledger::new(PUTTERS * each);
        let putters: Vec<_> = (0..PUTTERS)
            .map(|me| {
                let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
                thread::spawn(move || {
                    let mut random = Random::new(seed * 100 + me as u64);
                    for number in me * each..(me + 1) * each {
                        let item = Item { number, ledger: Arc::clone(&ledger) };
                        put_somehow!(&*queue, item, random);
                    }
                })
            })
            .collect();
        let getters: Vec<_> = (0..GETTERS)
            .map(|me| {
                let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
                thread::spawn(move || {
                    let mut random = Random::new(seed * 100 + 50 + me as u64);
                    loop {
                        match get_somehow!(&*queue, random) {
                            Some(Some(item)) => {
                                ledger.take(item);
                                queue.task_done().unwrap();
                            }
                            Some(None) => break,
                            None => {}
                        }
                    }
                })
            })
            .collect();
        let done = Arc::new(AtomicBool::new(false));
        let disturber = {
            let done = Arc::clone(&done);
            let targets: Vec<_> =
                putters.iter().chain(&getters).map(|t| t.thread().clone()).collect();
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut random = Random::new(seed + 7);
                while !done.load(SeqCst) {
                    let target = &targets[random.below(targets.len() as u64) as usize];
                    target.interrupt(Interrupt::new(()));
                    if capacity.is_some_and(|capacity| capacity > 0) && random.below(8) == 0 {
                        queue.set_capacity(NonZeroUsize::new(1 + random.below(3) as usize));
                    }
                    std::thread::yield_now();
                }
            })
        };
        for putter in putters {
            putter.join().unwrap();
        }
        // Every task is done when every item was got, whoever was interrupted.
        while queue.join_with(&Wait::new()).is_err() {}
        queue.shutdown(false);
        for getter in getters {
            getter.join().unwrap();
        }
        done.store(true, SeqCst);
        disturber.join().unwrap();
        for number in 0..PUTTERS * each {
            assert_eq!(ledger.got[number].load(SeqCst), 1, "item {number} was got");
            assert_eq!(ledger.dropped[number].load(SeqCst), 1, "item {number} was dropped");
        }
        assert_eq!((queue.len(), queue.unfinished()), (0, 0));
    }};
}

fn items() -> usize {
    usize::try_from(stress(2_000)).expect("QUELL_STRESS is not that large")
}

#[test]
fn no_item_is_lost_in_a_queue() {
    for (seed, capacity) in [None, Some(0), Some(1), Some(3)].into_iter().enumerate() {
        run!(Fifo, capacity, items(), seed as u64);
    }
}

#[test]
fn no_item_is_lost_in_a_lifo_queue() {
    for (seed, capacity) in [None, Some(0), Some(2)].into_iter().enumerate() {
        run!(Lifo, capacity, items(), seed as u64);
    }
}

#[test]
fn no_item_is_lost_in_a_priority_queue() {
    for (seed, capacity) in [None, Some(0), Some(2)].into_iter().enumerate() {
        run!(Priority, capacity, items(), seed as u64);
    }
}

/// One putter's items come out in order, whatever else is put, also through selections.
#[test]
fn the_order_of_each_putter_is_kept() {
    for capacity in [0, 1, 5, usize::MAX] {
        let queue = Arc::new(quell::Queue::bounded(capacity));
        let each = items();
        let putters: Vec<_> = (0..2)
            .map(|me| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    for number in 0..each {
                        let mut item = Some((me, number));
                        if number % 3 == 0 {
                            Select::new().put(&queue, &mut item, Result::unwrap).wait().unwrap();
                        } else {
                            queue.put((me, number)).unwrap();
                        }
                    }
                })
            })
            .collect();
        let mut next = [0, 0];
        for _ in 0..2 * each {
            let (me, number): (usize, usize) = queue.get().unwrap();
            assert_eq!(number, next[me]);
            next[me] += 1;
        }
        for putter in putters {
            putter.join().unwrap();
        }
    }
}

/// Shut down in the middle: each item was got, or came back, or was dropped with the queue's; and everybody was woken.
#[test]
fn a_shut_down_accounts_for_every_item() {
    for round in 0..stress(60) {
        let capacity = [0, 1, 4, usize::MAX][round as usize % 4];
        let immediate = round % 3 == 0;
        let queue = Arc::new(quell::Queue::bounded(capacity));
        let ledger = Ledger::new(40);
        let back = Arc::new(AtomicUsize::new(0));
        let putters: Vec<_> = (0..2)
            .map(|me| {
                let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
                let back = Arc::clone(&back);
                thread::spawn(move || {
                    for number in me * 20..(me + 1) * 20 {
                        let item = Item { number, ledger: Arc::clone(&ledger) };
                        if let Err(error) = queue.put(item) {
                            assert!(matches!(error, PutError::ShutDown(_)));
                            back.fetch_add(1, SeqCst);
                        }
                    }
                })
            })
            .collect();
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let (queue, ledger) = (Arc::clone(&queue), Arc::clone(&ledger));
                thread::spawn(move || {
                    let mut count = 0;
                    for item in &*queue {
                        ledger.take(item.unwrap());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..round % 50 {
            std::thread::yield_now();
        }
        queue.shutdown(immediate);
        for putter in putters {
            putter.join().unwrap();
        }
        let got: usize = getters.into_iter().map(|getter| getter.join().unwrap()).sum();
        let back = back.load(SeqCst);
        assert!(got + back <= 40 && (immediate || got + back == 40), "{got} got, {back} back");
        assert!(ledger.dropped.iter().all(|dropped| dropped.load(SeqCst) == 1));
    }
}
