//! Every interleaving of selections and of tasks at queues: an item is taken by one arm, and nothing else has happened.

use crate::models::{self, with_handle as start};
use loom::future::block_on;
use loom::thread;
use quell::{Event, GetError, Interrupt, Outcome, Queue, Select, Thread, WaitError, model};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};

fn put(queue: &Arc<Queue<u32>>, item: u32) -> thread::JoinHandle<()> {
    let queue = Arc::clone(queue);
    models::spawn(move || queue.put(item).unwrap())
}

/// Two queues, an item comes into each, a selection gets one of them.
#[test]
fn a_selection_takes_one_item() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        let putters = [put(&queues[0], 1), put(&queues[1], 2)];
        let got = Select::new()
            .get(&queues[0], Result::unwrap)
            .get(&queues[1], Result::unwrap)
            .wait()
            .unwrap();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        let left: u32 = queues.iter().flat_map(|queue| queue.try_iter()).sum();
        assert_eq!(got + left, 3);
    });
}

#[test]
fn a_selection_is_interrupted_while_two_items_come() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        let handle = Thread::unattached(None);
        let [first, second] = queues.clone();
        let selecting = start(&handle, move || {
            Select::new().get(&first, Result::unwrap).get(&second, Result::unwrap).wait()
        });
        let putter = put(&queues[0], 1);
        let receipt = handle.interrupt(Interrupt::new(()));
        queues[1].put(2).unwrap();
        putter.join().unwrap();
        let selected = selecting.join().unwrap();
        let left: u32 = queues.iter().flat_map(|queue| queue.try_iter()).sum();
        match selected {
            Ok(got) => {
                assert_eq!(got + left, 3);
                assert_eq!(receipt.state(), Outcome::Pending);
            }
            Err(WaitError::Interrupted(_)) => {
                assert_eq!(left, 3);
                assert_eq!(receipt.state(), Outcome::Delivered);
            }
            Err(other) => panic!("{other:?}"),
        }
    });
}

/// One gets or puts, at once with a getter at the one queue and a putter at the other: it does one of the two.
#[test]
fn a_selection_gets_or_puts() {
    models::bounded(2, || {
        let (from, to) = (Arc::new(Queue::rendezvous()), Arc::new(Queue::rendezvous()));
        let putter = Arc::clone(&from);
        let putter = models::spawn(move || putter.put(1).is_ok());
        let getter = Arc::clone(&to);
        let getter = models::spawn(move || getter.get().ok());
        let mut item = Some(2);
        let got = Select::new()
            .get(&from, |got| got.ok())
            .put(&to, &mut item, |put| {
                put.unwrap();
                None
            })
            .wait()
            .unwrap();
        from.shutdown(false);
        to.shutdown(false);
        assert_eq!(putter.join().unwrap(), got == Some(1));
        assert_eq!(getter.join().unwrap(), got.is_none().then_some(2));
        assert_eq!(item, got.is_some().then_some(2));
    });
}

/// Both sides of two rendezvous select among both: they meet at one of them, and nothing is left at the other.
#[test]
fn two_selections_meet() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::rendezvous()), Arc::new(Queue::rendezvous())];
        let [first, second] = queues.clone();
        let putting = models::spawn(move || {
            let (mut one, mut two) = (Some(1), Some(2));
            Select::new()
                .put(&first, &mut one, Result::unwrap)
                .put(&second, &mut two, Result::unwrap)
                .wait()
                .unwrap();
            one.unwrap_or(0) + two.unwrap_or(0)
        });
        let got = Select::new()
            .get(&queues[0], Result::unwrap)
            .get(&queues[1], Result::unwrap)
            .wait()
            .unwrap();
        assert_eq!(got + putting.join().unwrap(), 3);
        assert!(queues.iter().all(|queue| queue.try_get().is_err()));
    });
}

/// A selection that would put and get at the same rendezvous does not meet itself; two of them meet each other.
#[test]
fn a_selection_does_not_meet_itself() {
    fn either(queue: &Queue<u32>, item: u32) -> Option<u32> {
        let mut item = Some(item);
        Select::new()
            .get(queue, |got| Some(got.unwrap()))
            .put(queue, &mut item, |put| put.map(|()| None).unwrap())
            .wait()
            .unwrap()
    }
    models::bounded(2, || {
        let queue = Arc::new(Queue::rendezvous());
        let other = Arc::clone(&queue);
        let other = models::spawn(move || either(&other, 1));
        match (either(&queue, 2), other.join().unwrap()) {
            (Some(1), None) | (None, Some(2)) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_selection_sees_an_event_or_an_item() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::unbounded());
        let event = Arc::new(Event::new());
        let setter = Arc::clone(&event);
        let setter = models::spawn(move || setter.set());
        let putter = put(&queue, 1);
        let got = Select::new().event(&event, || 0).get(&queue, Result::unwrap).wait().unwrap();
        setter.join().unwrap();
        putter.join().unwrap();
        assert_eq!(got + queue.try_get().unwrap_or(0), 1);
    });
}

#[test]
fn a_selection_times_out_while_two_items_come() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        let [first, second] = queues.clone();
        let handle = Thread::unattached(None);
        let selecting = start(&handle, move || {
            Select::new()
                .get(&first, Result::unwrap)
                .get(&second, Result::unwrap)
                .wait_with(&model::timed())
        });
        let putter = put(&queues[0], 1);
        model::expire(&handle);
        queues[1].put(2).unwrap();
        let got = match selecting.join().unwrap() {
            Ok(item) => item,
            Err(WaitError::TimedOut) => 0,
            Err(other) => panic!("{other:?}"),
        };
        putter.join().unwrap();
        let left: u32 = queues.iter().flat_map(|queue| queue.try_iter()).sum();
        assert_eq!(got + left, 3);
    });
}

#[test]
fn a_selection_ends_when_a_queue_is_shut_down() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::<u32>::unbounded()), Arc::new(Queue::rendezvous())];
        let [first, second] = queues.clone();
        let ends = models::spawn(move || first.shutdown(false));
        let getter = models::spawn(move || second.get().unwrap_or(0));
        let mut item = Some(2);
        let put = Select::new()
            .get(&queues[0], |got| got.map_or(0, |_| panic!("nobody puts")))
            .put(&queues[1], &mut item, |put| put.map_or(0, |()| 2))
            .wait()
            .unwrap();
        queues[1].shutdown(false);
        ends.join().unwrap();
        assert_eq!(getter.join().unwrap(), put);
        assert_eq!(put + item.unwrap_or(0), 2);
    });
}

/// A getter that was in line behind a selection that leaves gets what the selection did not take.
#[test]
fn a_selection_that_leaves_takes_no_item_along() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        let [first, second] = queues.clone();
        let selecting = models::spawn(move || {
            Select::new().get(&first, Result::unwrap).get(&second, Result::unwrap).wait().unwrap()
        });
        let getter = Arc::clone(&queues[0]);
        let getter = models::spawn(move || getter.get().unwrap());
        queues[1].put(2).unwrap();
        queues[0].put(1).unwrap();
        if selecting.join().unwrap() == 1 {
            queues[0].put(4).unwrap();
            assert_eq!(getter.join().unwrap(), 4);
            assert_eq!(queues[1].try_get().unwrap(), 2);
        } else {
            assert_eq!(getter.join().unwrap(), 1);
        }
    });
}

/// There is an item in one queue or the other at every moment, so a selection that does not wait finds one. (The rule of
/// Go's TestNonblockSelectRace and crossbeam's `linearizable_default`.)
#[test]
fn a_selection_that_does_not_wait_sees_one_moment() {
    models::bounded(3, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        queues[1].put(1).unwrap();
        let [first, second] = queues.clone();
        let mover = models::spawn(move || {
            first.put(2).unwrap();
            second.try_get().is_ok()
        });
        let got = Select::new()
            .get(&queues[0], Result::unwrap)
            .get(&queues[1], Result::unwrap)
            .try_now()
            .expect("one of them is there");
        assert!(mover.join().unwrap() || got == 1);
        assert!(queues.iter().flat_map(|queue| queue.try_iter()).count() <= 1);
    });
}

/// A waker that counts its calls.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn tasks_put_and_get() {
    models::bounded(2, || {
        let queue = Arc::new(Queue::rendezvous());
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || block_on(putter.put_async(1)).unwrap());
        assert_eq!(block_on(queue.get_async()).unwrap(), 1);
        putter.join().unwrap();
    });
}

/// A get that is dropped while an item comes: the item is in the queue, or went to the getter behind.
#[test]
fn a_get_is_dropped_while_an_item_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let mut get = Box::pin({
            let queue = Arc::clone(&queue);
            async move { queue.get_async().await }
        });
        let polled = get.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let putter = put(&queue, 1);
        let getter = Arc::clone(&queue);
        let getter = models::spawn(move || getter.get().unwrap());
        drop(get);
        putter.join().unwrap();
        assert_eq!(getter.join().unwrap(), 1);
        assert!(queue.is_empty());
        assert_eq!(queue.unfinished(), 1);
    });
}

/// A put that is dropped while a getter comes: the item is with the getter, or gone with the put.
#[test]
fn a_put_is_dropped_while_a_getter_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::rendezvous());
        let item = Arc::new(());
        let mut put = Box::pin({
            let (queue, item) = (Arc::clone(&queue), Arc::clone(&item));
            async move { queue.put_async(item).await }
        });
        assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let getter = Arc::clone(&queue);
        let getter = models::spawn(move || getter.try_get().is_ok());
        drop(put);
        let got = getter.join().unwrap();
        assert_eq!(queue.unfinished(), usize::from(got));
        assert_eq!(Arc::strong_count(&item), 1);
    });
}

/// Polled with another waker while the item comes: whoever it is given to learns of it by the waker that counts.
#[test]
fn a_get_is_polled_with_another_waker_while_an_item_comes() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let mut get = pin!(queue.get_async());
        assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let putter = put(&queue, 1);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let polled = get.as_mut().poll(&mut Context::from_waker(&waker));
        putter.join().unwrap();
        match polled {
            Poll::Ready(got) => assert_eq!(got.unwrap(), 1),
            Poll::Pending => {
                assert_eq!(count.0.load(SeqCst), 1);
                let polled = get.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Ready(Ok(1))));
            }
        }
    });
}

#[test]
fn a_selection_of_a_task_is_dropped_while_two_items_come() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::unbounded())];
        let [first, second] = queues.clone();
        let mut selected = Box::pin(async move {
            let select = Select::new().get(&first, Result::unwrap).get(&second, Result::unwrap);
            select.wait_async().await
        });
        let polled = selected.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let putters = [put(&queues[0], 1), put(&queues[1], 2)];
        drop(selected);
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        assert_eq!(queues[0].try_get().unwrap(), 1);
        assert_eq!(queues[1].try_get().unwrap(), 2);
    });
}

#[test]
fn a_selection_of_a_task_takes_one_item() {
    models::bounded(2, || {
        let queues = [Arc::new(Queue::unbounded()), Arc::new(Queue::rendezvous())];
        let putter = put(&queues[0], 1);
        let other = Arc::clone(&queues[1]);
        let other = models::spawn(move || other.put(2).is_ok());
        let got = block_on(
            Select::new()
                .get(&queues[0], Result::unwrap)
                .get(&queues[1], Result::unwrap)
                .wait_async(),
        );
        queues[1].shutdown(false);
        putter.join().unwrap();
        assert_eq!(other.join().unwrap(), got == 2);
        assert_eq!(queues[0].try_get().unwrap_or(0), if got == 1 { 0 } else { 1 });
    });
}

/// What was handed to a dropped get is dropped with the queue's items if the queue was shut down at once.
#[test]
fn a_get_is_dropped_while_a_queue_is_shut_down_at_once() {
    models::bounded(3, || {
        let queue = Arc::new(Queue::unbounded());
        let mut get = Box::pin({
            let queue = Arc::clone(&queue);
            async move { queue.get_async().await }
        });
        assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let putter = Arc::clone(&queue);
        let putter = models::spawn(move || putter.put(1).is_ok());
        let ender = Arc::clone(&queue);
        let ender = models::spawn(move || ender.shutdown(true));
        drop(get);
        putter.join().unwrap();
        ender.join().unwrap();
        queue.join().unwrap();
        assert!(matches!(queue.try_get(), Err(GetError::ShutDown)));
    });
}
