//! The queues against a sequential model of them: long random sequences of operations, each compared in result and in
//! everything that can be asked afterwards. A failure is shrunk to the shortest sequence that shows it.
//!
//! Tasks are part of it: a get that is polled and left waiting is a waiter that one thread can have any number of.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quell::queue::{Fifo, Lifo, Priority, QueueOf};
use quell::{GetError, Interrupt, LifoQueue, Outcome, PriorityQueue, PutError, Queue, Wait};
use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Items with equal keys are equals to a priority queue; their numbers tell them apart here.
#[derive(Clone, Copy, Debug)]
struct Item {
    key: u8,
    number: u32,
}

impl Ord for Item {
    fn cmp(&self, other: &Item) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Item) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Item) -> bool {
        self.key == other.key
    }
}

impl Eq for Item {}

/// How a wait that has nothing to wait for ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    TimedOut,
    Interrupted,
    Shielded,
    Signalled,
}

impl Ending {
    /// A wait that ends at once, in this way, and what that is called.
    fn wait(self) -> (Wait, &'static str) {
        let past = Wait::new().until(Instant::now());
        match self {
            Ending::TimedOut => (past, "timed out"),
            Ending::Interrupted => {
                quell::current().interrupt(Interrupt::new(()));
                (past, "interrupted")
            }
            Ending::Shielded => {
                quell::current().interrupt(Interrupt::new(()));
                (past.shielded(), "timed out")
            }
            Ending::Signalled => {
                quell::current().nudge();
                (past.signals(), "signalled")
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    TryPut(u8),
    Put(u8, Ending),
    TryGet,
    Get(Ending),
    TaskDone,
    Join(Ending),
    SetCapacity(usize),
    ShutDown {
        immediate: bool,
    },
    /// A task begins to get.
    Begin,
    /// The oldest but so many of the tasks that get is polled.
    Poll(usize),
    /// The same one is dropped.
    Drop(usize),
    /// What is there is taken.
    TryIter,
}

fn op() -> impl Strategy<Value = Op> {
    let ending = prop_oneof![
        Just(Ending::TimedOut),
        Just(Ending::Interrupted),
        Just(Ending::Shielded),
        Just(Ending::Signalled)
    ];
    let key = 0..3_u8;
    prop_oneof![
        8 => key.clone().prop_map(Op::TryPut),
        8 => (key, ending.clone()).prop_map(|(key, ending)| Op::Put(key, ending)),
        6 => Just(Op::TryGet),
        6 => ending.clone().prop_map(Op::Get),
        4 => Just(Op::TaskDone),
        2 => ending.prop_map(Op::Join),
        2 => (0..4_usize).prop_map(Op::SetCapacity),
        1 => any::<bool>().prop_map(|immediate| Op::ShutDown { immediate }),
        4 => Just(Op::Begin),
        4 => (0..3_usize).prop_map(Op::Poll),
        3 => (0..3_usize).prop_map(Op::Drop),
        1 => Just(Op::TryIter),
    ]
}

/// In which order a model gives back: what the kinds are meant to be, in the simplest words.
#[derive(Clone, Copy)]
enum Order {
    First,
    Last,
    Smallest,
}

/// What a task that gets was given.
#[derive(Clone, Copy)]
enum Task {
    Waiting,
    Has(Item),
    ShutDown,
}

/// What the queue is meant to be.
struct Model {
    order: Order,
    /// In the order of putting.
    items: Vec<Item>,
    capacity: Option<usize>,
    unfinished: usize,
    shut_down: bool,
    discards: bool,
    tasks: Vec<Task>,
}

impl Model {
    fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.items.len() >= capacity)
    }

    fn put(&mut self, item: Item, otherwise: &'static str) -> &'static str {
        if self.shut_down {
            return "shut down";
        }
        if let Some(task) = self.waiting() {
            *task = Task::Has(item);
        } else if self.is_full() {
            return otherwise;
        } else {
            self.items.push(item);
        }
        self.unfinished += 1;
        "put"
    }

    fn waiting(&mut self) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| matches!(task, Task::Waiting))
    }

    fn get(&mut self, otherwise: &'static str) -> Result<Item, &'static str> {
        let Some(last) = self.items.len().checked_sub(1) else {
            return Err(if self.shut_down { "shut down" } else { otherwise });
        };
        Ok(self.items.remove(match self.order {
            Order::First => 0,
            Order::Last => last,
            // The first of the smallest.
            Order::Smallest => (0..=last).min_by_key(|&at| self.items[at].key).expect("not empty"),
        }))
    }

    /// It was handed to a task that is gone.
    fn take_back(&mut self, item: Item) {
        if let Some(task) = self.waiting() {
            *task = Task::Has(item);
        } else if self.discards {
            self.unfinished = self.unfinished.saturating_sub(1);
        } else {
            match self.order {
                Order::Last => self.items.push(item),
                // Of a priority queue: the first of its equals.
                Order::First | Order::Smallest => self.items.insert(0, item),
            }
        }
    }

    fn shut_down(&mut self, immediate: bool) {
        self.shut_down = true;
        if immediate {
            self.discards = true;
            self.unfinished = self.unfinished.saturating_sub(self.items.len());
            self.items.clear();
        }
        for task in self.tasks.iter_mut().filter(|task| matches!(task, Task::Waiting)) {
            *task = Task::ShutDown;
        }
    }
}

fn put(result: Result<(), PutError<Item>>, item: Item) -> &'static str {
    let Err(error) = result else { return "put" };
    let what = match &error {
        PutError::Full(_) => "full",
        PutError::ShutDown(_) => "shut down",
        PutError::TimedOut(_) => "timed out",
        PutError::Interrupted(..) => "interrupted",
        PutError::Signalled(_) => "signalled",
    };
    assert_eq!(error.into_item().number, item.number, "the item comes back");
    what
}

fn got(result: Result<Item, GetError>) -> Result<u32, &'static str> {
    result.map(|item| item.number).map_err(|error| match error {
        GetError::Empty => "empty",
        GetError::ShutDown => "shut down",
        GetError::TimedOut => "timed out",
        GetError::Interrupted(_) => "interrupted",
        GetError::Signalled => "signalled",
    })
}

type Getting<'a> = Pin<Box<dyn Future<Output = Result<Item, GetError>> + 'a>>;

fn poll(task: &mut Getting<'_>) -> Poll<Result<Item, GetError>> {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// A macro, because the trait that the kinds share is private.
macro_rules! run {
    ($Kind:ty, $order:expr, $capacity:expr, $ops:expr) => {{
        let capacity: Option<usize> = $capacity;
        let queue: QueueOf<Item, $Kind> =
            capacity.map_or_else(QueueOf::unbounded, QueueOf::bounded);
        let mut model = Model {
            order: $order,
            items: Vec::new(),
            capacity,
            unfinished: 0,
            shut_down: false,
            discards: false,
            tasks: Vec::new(),
        };
        // In step with the model's.
        let mut tasks: Vec<Getting<'_>> = Vec::new();
        for (number, op) in (0_u32..).zip($ops) {
            let new = |key| Item { key, number };
            match op {
                Op::TryPut(key) => {
                    assert_eq!(put(queue.try_put(new(key)), new(key)), model.put(new(key), "full"))
                }
                Op::Put(key, ending) => {
                    let (wait, ending) = ending.wait();
                    let put = put(queue.put_with(new(key), &wait), new(key));
                    assert_eq!(put, model.put(new(key), ending));
                }
                Op::TryGet => {
                    let expected = model.get("empty").map(|item| item.number);
                    assert_eq!(got(queue.try_get()), expected);
                }
                Op::Get(ending) => {
                    let (wait, ending) = ending.wait();
                    let expected = model.get(ending).map(|item| item.number);
                    assert_eq!(got(queue.get_with(&wait)), expected);
                }
                Op::TaskDone => {
                    let expected = model.unfinished.checked_sub(1);
                    model.unfinished = expected.unwrap_or(0);
                    assert_eq!(queue.task_done().is_ok(), expected.is_some());
                }
                Op::Join(ending) => {
                    let (wait, _) = ending.wait();
                    assert_eq!(queue.join_with(&wait).is_ok(), model.unfinished == 0);
                }
                Op::SetCapacity(capacity) => {
                    queue.set_capacity(NonZeroUsize::new(capacity));
                    model.capacity = (capacity > 0).then_some(capacity);
                }
                Op::ShutDown { immediate } => {
                    queue.shutdown(immediate);
                    model.shut_down(immediate);
                }
                Op::Begin => {
                    let mut task: Getting<'_> = Box::pin(queue.get_async());
                    match (poll(&mut task), model.get("empty")) {
                        (Poll::Pending, Err("empty")) => {
                            tasks.push(task);
                            model.tasks.push(Task::Waiting);
                        }
                        (Poll::Ready(result), expected) => {
                            assert_eq!(got(result), expected.map(|item| item.number));
                        }
                        (Poll::Pending, expected) => panic!("pending, not {expected:?}"),
                    }
                }
                Op::Poll(at) if at < tasks.len() => match (poll(&mut tasks[at]), model.tasks[at]) {
                    (Poll::Pending, Task::Waiting) => {}
                    (Poll::Ready(result), Task::Has(item)) => {
                        assert_eq!(got(result), Ok(item.number));
                        drop(tasks.remove(at));
                        model.tasks.remove(at);
                    }
                    (Poll::Ready(result), Task::ShutDown) => {
                        assert_eq!(got(result), Err("shut down"));
                        drop(tasks.remove(at));
                        model.tasks.remove(at);
                    }
                    (polled, _) => panic!("{polled:?}"),
                },
                Op::Drop(at) if at < tasks.len() => {
                    drop(tasks.remove(at));
                    if let Task::Has(item) = model.tasks.remove(at) {
                        model.take_back(item);
                    }
                }
                Op::Poll(_) | Op::Drop(_) => {}
                Op::TryIter => {
                    let all: Vec<u32> = queue.try_iter().map(|item| item.number).collect();
                    let expected: Vec<u32> =
                        std::iter::from_fn(|| model.get("").ok().map(|item| item.number)).collect();
                    assert_eq!(all, expected);
                }
            }
            // Nothing that was not delivered has gone, nothing lingers into the next operation.
            quell::current().withdraw_all();
            let _ = quell::thread::sleep_with(&Wait::new().until(Instant::now()).signals());
            assert_eq!(queue.len(), model.items.len());
            assert_eq!(queue.is_empty(), model.items.is_empty());
            assert_eq!(queue.is_full(), model.is_full());
            assert_eq!(queue.capacity(), model.capacity);
            assert_eq!(queue.unfinished(), model.unfinished);
            assert_eq!(queue.is_shut_down(), model.shut_down);
            let mut seen = Vec::new();
            queue.visit(|item| seen.push(item.number));
            let mut expected: Vec<u32> = model.items.iter().map(|item| item.number).collect();
            match model.order {
                Order::First => {}
                Order::Last => expected.reverse(),
                Order::Smallest => {
                    seen.sort_unstable();
                    expected.sort_unstable();
                }
            }
            assert_eq!(seen, expected);
        }
    }};
}

fn check(run: impl Fn(Option<usize>, Vec<Op>)) {
    let cases = u32::try_from(stress(300)).expect("QUELL_STRESS is not that large");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let capacity = proptest::option::of(0..4_usize);
    let program = (capacity, proptest::collection::vec(op(), 1..60));
    TestRunner::new(config)
        .run(&program, |(capacity, ops)| {
            run(capacity, ops);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_queue_is_what_its_model_is() {
    check(|capacity, ops| {
        run!(Fifo, Order::First, capacity, ops);
    });
}

#[test]
fn a_lifo_queue_is_what_its_model_is() {
    check(|capacity, ops| {
        run!(Lifo, Order::Last, capacity, ops);
    });
}

#[test]
fn a_priority_queue_is_what_its_model_is() {
    check(|capacity, ops| {
        run!(Priority, Order::Smallest, capacity, ops);
    });
}

#[test]
fn a_priority_queue_keeps_equals_in_order_over_many_items() {
    let queue = PriorityQueue::unbounded();
    let items = (0..1_000_u32).map(|number| Item { key: (number * 7 % 10) as u8, number });
    items.clone().for_each(|item| queue.put(item).unwrap());
    let mut expected: Vec<Item> = items.collect();
    expected.sort(); // stable
    let got: Vec<u32> = queue.into_iter().map(|item| item.number).collect();
    assert_eq!(got, expected.iter().map(|item| item.number).collect::<Vec<_>>());
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

#[test]
fn a_priority_queue_whose_order_panics_stays_usable() {
    #[derive(PartialEq, Eq)]
    struct Touchy(i32);
    impl Ord for Touchy {
        fn cmp(&self, other: &Touchy) -> Ordering {
            assert!(self.0 >= 0 && other.0 >= 0, "below zero");
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Touchy {
        fn partial_cmp(&self, other: &Touchy) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    let queue = PriorityQueue::unbounded();
    queue.put(Touchy(1)).unwrap();
    let put = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.put(Touchy(-1))));
    assert!(put.is_err());
    assert_eq!((queue.len(), queue.unfinished()), (2, 2));
    queue.shutdown(true);
    queue.join().unwrap();
}

#[test]
fn statics_can_be_queues() {
    static JOBS: Queue<u32> = Queue::bounded(1);
    static STACK: LifoQueue<u32> = LifoQueue::unbounded();
    static HEAP: PriorityQueue<u32> = PriorityQueue::rendezvous();
    JOBS.put(1).unwrap();
    STACK.put(2).unwrap();
    assert!(HEAP.try_put(3).is_err());
    assert_eq!(JOBS.get().unwrap() + STACK.get().unwrap(), 3);
}
