//! What other channels' suites pin down, asked of the queues. Each test names where its rule comes from; the code is our
//! own. "Go" is the Go runtime's `chan_test.go` and `test/chan`, "crossbeam" the tests of crossbeam-channel.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use quell::queue::ShutDown;
use quell::{Event, GetError, PutError, Queue, Select, Wait, thread};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn rounds(default: u64) -> usize {
    usize::try_from(stress(default)).expect("QUELL_STRESS is not that large")
}

fn moment() -> Wait {
    Wait::new().timeout(Duration::from_millis(1))
}

/// Capacities that the rules are to hold for.
const CAPACITIES: [usize; 4] = [0, 1, 10, usize::MAX];

// ---- one queue ----

/// Go, TestChan: a receive from an empty channel blocks, and so does a send to a full one.
#[test]
fn get_of_an_empty_and_put_to_a_full_queue_block() {
    for capacity in CAPACITIES {
        let queue = Queue::bounded(capacity);
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        assert!(matches!(queue.get_with(&moment()), Err(GetError::TimedOut)));
        let room = capacity.min(20);
        (0..room).for_each(|number| queue.put(number).unwrap());
        if capacity != usize::MAX {
            assert!(matches!(queue.try_put(99), Err(PutError::Full(99))));
            assert!(matches!(queue.put_with(99, &moment()), Err(PutError::TimedOut(99))));
        }
        assert!(queue.try_iter().eq(0..room));
    }
}

/// Go, TestChan: a receive from a closed channel gets what is left, then says so at once, again and again; a send fails.
/// crossbeam, `recv_after_disconnect`, `send_after_disconnect`.
#[test]
fn a_queue_that_is_shut_down_is_drained_and_then_says_so() {
    for capacity in [3, usize::MAX] {
        let queue = Queue::bounded(capacity);
        (0..3).for_each(|number| queue.put(number).unwrap());
        queue.shutdown(false);
        assert!(matches!(queue.put(4), Err(PutError::ShutDown(4))));
        assert!(matches!(queue.try_put(5), Err(PutError::ShutDown(5))));
        assert!(queue.iter().map(Result::unwrap).eq(0..3));
        for _ in 0..3 {
            assert!(matches!(queue.get(), Err(GetError::ShutDown)));
            assert!(matches!(queue.try_get(), Err(GetError::ShutDown)));
        }
    }
}

/// Go, TestChan: a close wakes every receiver that waits. crossbeam, `disconnect_wakes_receiver`.
#[test]
fn a_shut_down_wakes_every_getter() {
    for capacity in CAPACITIES {
        let queue = Arc::new(Queue::<u32>::bounded(capacity));
        let getters: Vec<_> = (0..5)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.get())
            })
            .collect();
        queue.shutdown(false);
        for getter in getters {
            assert!(matches!(getter.join().unwrap(), Err(GetError::ShutDown)));
        }
    }
}

/// crossbeam, `disconnect_wakes_sender`.
#[test]
fn a_shut_down_wakes_every_putter_and_gives_the_items_back() {
    for capacity in [0, 1] {
        let queue = Arc::new(Queue::bounded(capacity));
        (0..capacity).for_each(|_| queue.put(99).unwrap());
        let putters: Vec<_> = (0..5)
            .map(|number| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.put(number).unwrap_err().into_item())
            })
            .collect();
        queue.shutdown(true);
        let mut back: Vec<_> = putters.into_iter().map(|putter| putter.join().unwrap()).collect();
        back.sort_unstable();
        assert_eq!(back, [0, 1, 2, 3, 4]);
    }
}

/// Go, test/chan/fifo.go. crossbeam, `spsc`.
#[test]
fn items_of_one_putter_arrive_in_order_at_one_getter() {
    for capacity in CAPACITIES {
        let queue = Arc::new(Queue::bounded(capacity));
        let putter = Arc::clone(&queue);
        let count = rounds(1_000);
        let putter = thread::spawn(move || {
            (0..count).for_each(|number| putter.put(number).unwrap());
            putter.shutdown(false);
        });
        assert!(queue.iter().map(Result::unwrap).eq(0..count));
        putter.join().unwrap();
    }
}

/// Go, TestMultiConsumer. crossbeam, `mpmc`.
#[test]
fn each_item_of_many_arrives_once_at_one_of_many() {
    for capacity in CAPACITIES {
        let queue = Arc::new(Queue::bounded(capacity));
        let count = rounds(500);
        let getters: Vec<_> = (0..4)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.iter().map(Result::unwrap).collect::<Vec<usize>>())
            })
            .collect();
        let putters: Vec<_> = (0..4)
            .map(|me| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    (0..count).for_each(|number| queue.put(me * count + number).unwrap());
                })
            })
            .collect();
        for putter in putters {
            putter.join().unwrap();
        }
        queue.shutdown(false);
        let mut all = Vec::new();
        for getter in getters {
            let got = getter.join().unwrap();
            // What one getter has of one putter is in that putter's order.
            for me in 0..4 {
                assert!(got.iter().filter(|number| *number / count == me).is_sorted());
            }
            all.extend(got);
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..4 * count));
    }
}

/// crossbeam, `recv_timeout`, `send_timeout`: a time-out is never early.
#[test]
fn a_time_out_is_not_early() {
    let queue = Queue::rendezvous();
    for time in [Duration::from_millis(1), Duration::from_millis(20)] {
        let start = Instant::now();
        assert!(matches!(queue.get_timeout(time), Err(GetError::TimedOut)));
        assert!(start.elapsed() >= time);
        let start = Instant::now();
        assert!(matches!(queue.put_timeout(1, time), Err(PutError::TimedOut(1))));
        assert!(start.elapsed() >= time);
        let start = Instant::now();
        assert!(Select::new().get(&queue, drop).wait_timeout(time).is_err());
        assert!(start.elapsed() >= time);
    }
}

/// crossbeam, `len_empty_full` and `capacity`.
#[test]
fn what_can_be_asked() {
    let queue = Queue::bounded(2);
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (0, true, false));
    queue.put(()).unwrap();
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (1, false, false));
    queue.put(()).unwrap();
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (2, false, true));
    queue.get().unwrap();
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (1, false, false));
    let zero = Queue::<()>::rendezvous();
    assert_eq!((zero.len(), zero.is_empty(), zero.is_full()), (0, true, true));
    assert_eq!((zero.capacity(), Queue::<()>::unbounded().capacity()), (Some(0), None));
}

/// crossbeam, `drops`: what is left in a queue is dropped with it, once.
#[test]
fn what_is_left_is_dropped_with_the_queue() {
    let item = Arc::new(());
    for capacity in [5, usize::MAX] {
        let queue = Queue::bounded(capacity);
        (0..5).for_each(|_| queue.put(Arc::clone(&item)).unwrap());
        drop(queue.get().unwrap());
        assert_eq!(Arc::strong_count(&item), 5);
        drop(queue);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}

/// crossbeam, `channel_through_channel`; Go, test/chan/select6.go and the sieve pass channels about as well.
#[test]
fn a_queue_goes_through_a_queue() {
    struct Link(Arc<Queue<Link>>);
    for capacity in [0, 1] {
        let first = Arc::new(Queue::<Link>::bounded(capacity));
        let putter = Arc::clone(&first);
        let putter = thread::spawn(move || {
            let mut queue = putter;
            for _ in 0..100 {
                let next = Arc::new(Queue::bounded(capacity));
                assert!(queue.put(Link(Arc::clone(&next))).is_ok());
                queue = next;
            }
        });
        let mut queue = first;
        for _ in 0..100 {
            queue = queue.get().unwrap().0;
        }
        putter.join().unwrap();
    }
}

/// Go, test/chan/sieve1.go: a chain of rendezvous, each in a thread.
#[test]
fn a_prime_sieve() {
    let end = Arc::new(Event::new());
    let mut source = Arc::new(Queue::rendezvous());
    let mut threads = Vec::new();
    let (first, stop) = (Arc::clone(&source), Arc::clone(&end));
    threads.push(thread::spawn(move || {
        for number in 2.. {
            let mut number = Some(number);
            let put = Select::new()
                .put(&first, &mut number, |put| put.is_ok())
                .event(&stop, || false)
                .wait()
                .unwrap();
            if !put {
                return first.shutdown(true);
            }
        }
    }));
    let mut primes = Vec::new();
    for _ in 0..12 {
        let prime: u64 = source.get().unwrap();
        primes.push(prime);
        let (from, to) = (source, Arc::new(Queue::rendezvous()));
        source = Arc::clone(&to);
        threads.push(thread::spawn(move || {
            for number in from.iter().map(Result::unwrap).filter(|number| number % prime != 0) {
                if to.put(number).is_err() {
                    break;
                }
            }
            to.shutdown(true);
            from.shutdown(true);
        }));
    }
    assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]);
    end.set();
    source.shutdown(true);
    for thread in threads {
        thread.join().unwrap();
    }
}

// ---- selections ----

/// crossbeam, `smoke1`, `smoke2`: the arm that is ready is chosen, wherever it stands.
#[test]
fn the_arm_that_is_ready_is_chosen() {
    let queues: Vec<Queue<usize>> = (0..5).map(|_| Queue::unbounded()).collect();
    for ready in [0, 2, 4] {
        queues[ready].put(ready).unwrap();
        let select = queues.iter().fold(Select::new(), |s, queue| s.get(queue, Result::unwrap));
        assert_eq!(select.wait().unwrap(), ready);
    }
}

/// crossbeam, `disconnected`; Go: a receive from a closed channel is ready.
#[test]
fn an_arm_whose_queue_is_shut_down_is_ready() {
    let (ended, idle) = (Queue::<u32>::unbounded(), Queue::<u32>::unbounded());
    ended.shutdown(false);
    for _ in 0..10 {
        let select = Select::new().get(&idle, |_| panic!("it is empty")).get(&ended, |got| got);
        assert_eq!(select.wait().unwrap(), Err(ShutDown));
        let mut item = Some(1);
        let put = Select::new().put(&ended, &mut item, |put| put).wait().unwrap();
        assert_eq!((put, item), (Err(ShutDown), Some(1)));
    }
}

/// crossbeam, `default`; Go, test/chan/nonblock.go: a selection that does not wait.
#[test]
fn a_selection_that_does_not_wait_gives_itself_back() {
    let (empty, full) = (Queue::<u32>::unbounded(), Queue::rendezvous());
    let mut item = Some(1);
    let select = Select::new().get(&empty, |got| got.unwrap()).put(&full, &mut item, |_| 0);
    let select = select.try_now().unwrap_err();
    empty.put(7).unwrap();
    assert_eq!(select.try_now().unwrap(), 7);
    assert_eq!(item, Some(1));
}

/// Go, test/chan/select5.go and the language: without a ready case it waits; without a case, for ever. crossbeam, `timeout`.
#[test]
fn a_selection_without_arms_waits_for_its_deadline() {
    assert!(Select::<()>::new().wait_with(&moment()).is_err());
}

/// crossbeam, `both_ready`; Go, TestSelectFairness: arms that are ready at once are all chosen in time, about as often.
#[test]
fn arms_that_are_ready_are_chosen_at_random() {
    let (first, second, third) = (Queue::unbounded(), Queue::unbounded(), Event::new());
    third.set();
    let mut count = [0; 4];
    let sink = Queue::unbounded();
    for _ in 0..4_000 {
        first.put(0).unwrap();
        second.put(1).unwrap();
        let mut item = Some(());
        let chosen = Select::new()
            .get(&first, Result::unwrap)
            .get(&second, Result::unwrap)
            .event(&third, || 2)
            .put(&sink, &mut item, |_| 3)
            .wait()
            .unwrap();
        count[chosen] += 1;
    }
    // A thousand each is expected, with a standard deviation below thirty.
    assert!(count.iter().all(|&count| (700..1_300).contains(&count)), "{count:?}");
}

/// crossbeam, `fairness_duplicates`; Go, TestSelectDuplicateChannel: a queue may be in a selection twice.
#[test]
fn a_queue_may_be_in_a_selection_twice() {
    let queue = Arc::new(Queue::unbounded());
    let mut count = [0; 2];
    for _ in 0..2_000 {
        queue.put(()).unwrap();
        let chosen = Select::new().get(&queue, |_| 0).get(&queue, |_| 1).wait().unwrap();
        count[chosen] += 1;
    }
    assert!(count.iter().all(|&count| count > 700), "{count:?}");
    // Waiting in both arms, one item is one item.
    let selecting = Arc::clone(&queue);
    let selecting = thread::spawn(move || {
        Select::new().get(&selecting, drop).get(&selecting, drop).wait().unwrap();
    });
    queue.put(()).unwrap();
    selecting.join().unwrap();
    assert!(queue.is_empty());
}

/// Go, TestSelfSelect; crossbeam, `send_recv_same_channel`: a selection that sends to and receives from one channel does not
/// meet itself, and two of them meet each other.
#[test]
fn a_selection_does_not_meet_itself() {
    for capacity in [0, 10] {
        let queue = Arc::new(Queue::bounded(capacity));
        let count = rounds(1_000);
        let threads: Vec<_> = [1, 2]
            .map(|me| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    // One ends before the other, so neither waits for ever.
                    let wait = Wait::new().timeout(Duration::from_millis(200));
                    for round in 0..count {
                        let mut item = Some(me);
                        let select = Select::new();
                        let selected = if round % 2 == 0 {
                            select.put(&queue, &mut item, |_| 0).get(&queue, Result::unwrap)
                        } else {
                            select.get(&queue, Result::unwrap).put(&queue, &mut item, |_| 0)
                        };
                        match selected.wait_with(&wait) {
                            // In a buffer, one can meet what one has put.
                            Ok(got) => assert!(capacity > 0 || got != me, "met itself"),
                            Err(_) => return,
                        }
                    }
                })
            })
            .into();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

/// crossbeam, `matching`, `matching_with_leftover`: all put or get at one rendezvous; they pair up, and the odd one is left.
#[test]
fn selections_pair_up() {
    for odd in [false, true] {
        let queue = Arc::new(Queue::rendezvous());
        let threads: Vec<_> = (0..20 + i32::from(odd))
            .map(|me| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    let mut item = Some(me);
                    Select::new()
                        .get(&queue, |got| assert_ne!(got, Ok(me)))
                        .put(&queue, &mut item, Result::unwrap)
                        .wait()
                        .unwrap();
                })
            })
            .collect();
        if odd {
            // Whenever this comes, one of them at least is there, because all others can only leave by twos.
            assert!(queue.put(99).is_ok());
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(queue.try_get().is_err() && queue.try_put(1).is_err());
    }
}

/// Go, TestSelectStress: four kinds of senders and receivers over the same four channels, by themselves and in selections.
#[test]
fn selections_and_others_share_four_queues() {
    let queues: Arc<[Queue<usize>; 4]> =
        Arc::new([Queue::rendezvous(), Queue::rendezvous(), Queue::bounded(2), Queue::bounded(3)]);
    let count = rounds(300);
    let mut threads = Vec::new();
    for at in 0..4 {
        let (putting, getting) = (Arc::clone(&queues), Arc::clone(&queues));
        threads.push(thread::spawn(move || {
            (0..count).for_each(|number| putting[at].put(number).unwrap());
        }));
        threads.push(thread::spawn(move || {
            (0..count).for_each(|_| assert!(getting[at].get().is_ok()));
        }));
    }
    let (putting, getting) = (Arc::clone(&queues), Arc::clone(&queues));
    threads.push(thread::spawn(move || {
        let mut left = [count; 4];
        while left.iter().any(|&left| left > 0) {
            let mut items = [Some(0), Some(1), Some(2), Some(3)];
            let mut select = Select::new();
            for (at, item) in items.iter_mut().enumerate().filter(|(at, _)| left[*at] > 0) {
                select = select.put(&putting[at], item, move |put| put.map(|()| at).unwrap());
            }
            left[select.wait().unwrap()] -= 1;
        }
    }));
    threads.push(thread::spawn(move || {
        let mut left = [count; 4];
        while left.iter().any(|&left| left > 0) {
            let mut select = Select::new();
            for at in (0..4).filter(|&at| left[at] > 0) {
                select = select.get(&getting[at], move |got| got.map(|_| at).unwrap());
            }
            left[select.wait().unwrap()] -= 1;
        }
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(queues.iter().all(Queue::is_empty));
}

/// Go, TestNonblockSelectRace; crossbeam, `linearizable_default`: of two channels, one has an item; the other is closed, then
/// the item is taken. A selection that does not wait finds one of them ready: it sees both at one moment.
#[test]
fn a_selection_never_misses_both() {
    for _ in 0..rounds(500) {
        let (first, second) = (Arc::new(Queue::bounded(1)), Arc::new(Queue::<u32>::bounded(1)));
        first.put(1).unwrap();
        let selecting = {
            let (first, second) = (Arc::clone(&first), Arc::clone(&second));
            thread::spawn(move || {
                Select::new().get(&first, |_| ()).get(&second, |_| ()).try_now().is_ok()
            })
        };
        second.shutdown(false);
        let _ = first.try_get();
        assert!(selecting.join().unwrap());
    }
}

/// Go, test/chan/doubleselect.go: one that selects among senders of the same sequence never sees a number twice.
#[test]
fn no_item_is_put_by_two_arms() {
    let queues: [Arc<Queue<usize>>; 4] = std::array::from_fn(|_| Arc::new(Queue::rendezvous()));
    let merged = Arc::new(Queue::rendezvous());
    let count = rounds(1_000);
    let source = {
        let queues = queues.clone();
        thread::spawn(move || {
            for number in 0..count {
                let mut items = [Some(number); 4];
                let mut select = Select::new();
                for (queue, item) in queues.iter().zip(&mut items) {
                    select = select.put(queue, item, Result::unwrap);
                }
                select.wait().unwrap();
                assert_eq!(items.iter().flatten().count(), 3, "one of four was put");
            }
            queues.iter().for_each(|queue| queue.shutdown(false));
        })
    };
    let forwarders = queues.map(|queue| {
        let merged = Arc::clone(&merged);
        thread::spawn(move || queue.iter().for_each(|item| merged.put(item.unwrap()).unwrap()))
    });
    let mut seen = HashSet::new();
    for _ in 0..count {
        assert!(seen.insert(merged.get().unwrap()));
    }
    source.join().unwrap();
    forwarders.into_iter().for_each(|forwarder| forwarder.join().unwrap());
    assert!(matches!(merged.try_get(), Err(GetError::Empty)));
}

/// crossbeam, `nesting` and `recv_in_send`: what is done with an arm may use queues and select.
#[test]
fn an_arm_may_select() {
    let queue = Queue::unbounded();
    (0..3).for_each(|number| queue.put(number).unwrap());
    let all = Select::new()
        .get(&queue, |first| {
            Select::new()
                .get(&queue, |second| [first.unwrap(), second.unwrap(), queue.get().unwrap()])
                .wait()
                .unwrap()
        })
        .wait()
        .unwrap();
    assert_eq!(all, [0, 1, 2]);
}

/// crossbeam, `drop_hygiene`: what the arms own is dropped, chosen or not.
#[test]
fn arms_are_dropped() {
    let (queue, full) = (Queue::unbounded(), Queue::rendezvous());
    let thing = Arc::new(());
    queue.put(()).unwrap();
    let (one, two) = (Arc::clone(&thing), Arc::clone(&thing));
    let mut item = Some(Arc::clone(&thing));
    let select =
        Select::new().get(&queue, move |_| drop(one)).put(&full, &mut item, move |_| drop(two));
    select.wait().unwrap();
    assert_eq!(Arc::strong_count(&thing), 2);
    assert!(item.is_some());
}
