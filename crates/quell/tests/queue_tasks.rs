//! Queues and selections as tasks, on tokio and smol, beside threads: nothing is lost, whatever future is dropped when.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::stress;
use quell::{Event, GetError, Interrupt, Outcome, PutError, Queue, Select, thread};
use std::sync::Arc;
use std::time::Duration;

fn rounds(default: u64) -> usize {
    usize::try_from(stress(default)).expect("QUELL_STRESS is not that large")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn the_futures_can_be_sent() {
    fn sent<T: Send>(_: &T) {}
    let queue = Queue::<Box<u32>>::unbounded();
    let (mut item, event) = (Some(Box::new(1)), Event::new());
    sent(&queue.get_async());
    sent(&queue.put_async(Box::new(1)));
    sent(&queue.join_async());
    let select =
        Select::new().get(&queue, |_| ()).put(&queue, &mut item, |_| ()).event(&event, || ());
    sent(&select.wait_async());
}

/// Tasks put, threads and tasks get; on each runtime, through each capacity.
#[test]
fn tasks_and_threads_share_a_queue() {
    for capacity in [0, 1, usize::MAX] {
        let count = rounds(500);
        let queue = Arc::new(Queue::bounded(capacity));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.iter().map(Result::unwrap).sum::<usize>())
            })
            .collect();
        let runtime = runtime();
        let getters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                runtime.spawn(async move {
                    let mut sum = 0;
                    while let Ok(item) = queue.get_async().await {
                        sum += item;
                    }
                    sum
                })
            })
            .collect();
        let putters: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                runtime.spawn(async move {
                    for item in 0..count {
                        queue.put_async(item).await.unwrap();
                    }
                })
            })
            .collect();
        smol::block_on(async {
            for item in 0..count {
                queue.put_async(item).await.unwrap();
            }
        });
        let total = runtime.block_on(async {
            for putter in putters {
                putter.await.unwrap();
            }
            queue.shutdown(false);
            let mut sum = 0;
            for getter in getters {
                sum += getter.await.unwrap();
            }
            sum
        });
        let total: usize = total + threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>();
        assert_eq!(total, 3 * (count * (count - 1) / 2));
    }
}

/// Gets that a timer drops, at any moment: each item comes out once.
#[test]
fn gets_are_dropped_at_any_moment() {
    for capacity in [0, 1, usize::MAX] {
        let count = rounds(300);
        let queue = Arc::new(Queue::bounded(capacity));
        let runtime = runtime();
        let getters: Vec<_> = (0..3_u64)
            .map(|me| {
                let queue = Arc::clone(&queue);
                runtime.spawn(async move {
                    let mut got = Vec::new();
                    loop {
                        let idle = Event::new();
                        let patience = Duration::from_micros(me * 20);
                        let item = if me == 2 {
                            let select = Select::new().event(&idle, || None).get(&queue, Some);
                            let Ok(item) =
                                tokio::time::timeout(patience, select.wait_async()).await
                            else {
                                continue;
                            };
                            item.unwrap().ok()
                        } else {
                            let Ok(item) = tokio::time::timeout(patience, queue.get_async()).await
                            else {
                                continue;
                            };
                            item.ok()
                        };
                        match item {
                            Some(item) => got.push(item),
                            None => return got,
                        }
                    }
                })
            })
            .collect();
        for item in 0..count {
            queue.put(item).unwrap();
        }
        queue.shutdown(false);
        let mut all: Vec<usize> = runtime.block_on(async {
            let mut all = Vec::new();
            for getter in getters {
                all.extend(getter.await.unwrap());
            }
            all
        });
        // An item that was handed to a get that is dropped after the others have seen the end is still there.
        all.extend(queue.try_iter());
        all.sort_unstable();
        assert!(all.into_iter().eq(0..count));
    }
}

#[test]
fn a_shut_down_ends_tasks() {
    smol::block_on(async {
        let queue = Arc::new(Queue::bounded(1));
        queue.put_async(1).await.unwrap();
        let putter = Arc::clone(&queue);
        let putter = smol::spawn(async move { putter.put_async(2).await });
        let joiner = Arc::clone(&queue);
        let joiner = smol::spawn(async move { joiner.join_async().await });
        queue.shutdown(true);
        joiner.await;
        assert!(matches!(queue.get_async().await, Err(GetError::ShutDown)));
        assert!(matches!(putter.await, Err(PutError::ShutDown(2))));
    });
}

/// A task is not a thread: an interrupt for the thread that polls it stays pending.
#[test]
fn a_task_is_not_interrupted() {
    let queue = Arc::new(Queue::unbounded());
    let putter = Arc::clone(&queue);
    let receipt = quell::current().interrupt(Interrupt::new(()));
    let putter = std::thread::spawn(move || putter.put(1).unwrap());
    assert_eq!(smol::block_on(queue.get_async()).unwrap(), 1);
    putter.join().unwrap();
    assert_eq!(receipt.state(), Outcome::Pending);
    assert!(receipt.withdraw());
}
