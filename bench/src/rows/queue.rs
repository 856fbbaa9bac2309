//! Queues: unbounded, without room (a rendezvous), of capacity 1 and 100; one and four threads at each end.

use crate::harness::{ANY, Bench, Goal, Metric, Place, Side};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

/// The two ends of a queue of numbers. When every putter is dropped, the getters find the end.
trait Ends: Sized {
    const NAME: &'static str;

    type Put: Send;
    type Get: Send;

    /// So many of each; `None` if it cannot be had.
    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>>;

    fn put(end: &Self::Put, item: u64);

    /// `None` at the end.
    fn get(end: &Self::Get) -> Option<u64>;
}

/// All the ends of one queue.
type BothEnds<E> = (Vec<<E as Ends>::Put>, Vec<<E as Ends>::Get>);

fn several<T: Clone>(end: T, count: usize) -> Vec<T> {
    let mut all = vec![end.clone(); count - 1];
    all.push(end);
    all
}

/// quell's queue has no ends: it is shut down when the last thread that puts is done.
struct Quell;

struct Putter(Arc<quell::Queue<u64>>, Option<Arc<()>>);

impl Drop for Putter {
    fn drop(&mut self) {
        // One of them gets it, however many are dropped at once.
        if self.1.take().and_then(Arc::into_inner).is_some() {
            self.0.shutdown(false);
        }
    }
}

impl Ends for Quell {
    const NAME: &'static str = "quell";

    type Put = Putter;
    type Get = Arc<quell::Queue<u64>>;

    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>> {
        let queue = Arc::new(match capacity {
            None => quell::Queue::unbounded(),
            Some(capacity) => quell::Queue::bounded(capacity),
        });
        let last = Arc::new(());
        let puts =
            several(last, puts).into_iter().map(|last| Putter(Arc::clone(&queue), Some(last)));
        Some((puts.collect(), several(queue, gets)))
    }

    fn put(end: &Self::Put, item: u64) {
        end.0.put(item).unwrap();
    }

    fn get(end: &Self::Get) -> Option<u64> {
        match end.get() {
            Ok(item) => Some(item),
            Err(quell::GetError::ShutDown) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

struct Crossbeam;

impl Ends for Crossbeam {
    const NAME: &'static str = "crossbeam-channel";

    type Put = crossbeam_channel::Sender<u64>;
    type Get = crossbeam_channel::Receiver<u64>;

    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>> {
        let (put, get) = match capacity {
            None => crossbeam_channel::unbounded(),
            Some(capacity) => crossbeam_channel::bounded(capacity),
        };
        Some((several(put, puts), several(get, gets)))
    }

    fn put(end: &Self::Put, item: u64) {
        end.send(item).unwrap();
    }

    fn get(end: &Self::Get) -> Option<u64> {
        end.recv().ok()
    }
}

struct Flume;

impl Ends for Flume {
    const NAME: &'static str = "flume";

    type Put = flume::Sender<u64>;
    type Get = flume::Receiver<u64>;

    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>> {
        let (put, get) = match capacity {
            None => flume::unbounded(),
            Some(capacity) => flume::bounded(capacity),
        };
        Some((several(put, puts), several(get, gets)))
    }

    fn put(end: &Self::Put, item: u64) {
        end.send(item).unwrap();
    }

    fn get(end: &Self::Get) -> Option<u64> {
        end.recv().ok()
    }
}

struct Kanal;

impl Ends for Kanal {
    const NAME: &'static str = "kanal";

    type Put = kanal::Sender<u64>;
    type Get = kanal::Receiver<u64>;

    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>> {
        let (put, get) = match capacity {
            None => kanal::unbounded(),
            Some(capacity) => kanal::bounded(capacity),
        };
        Some((several(put, puts), several(get, gets)))
    }

    fn put(end: &Self::Put, item: u64) {
        end.send(item).unwrap();
    }

    fn get(end: &Self::Get) -> Option<u64> {
        end.recv().ok()
    }
}

/// Has one receiver only. (A lock around it would measure the lock.)
struct Standard;

enum Sender {
    Unbounded(mpsc::Sender<u64>),
    Bounded(mpsc::SyncSender<u64>),
}

impl Ends for Standard {
    const NAME: &'static str = "std";

    type Put = Sender;
    type Get = mpsc::Receiver<u64>;

    fn ends(capacity: Option<usize>, puts: usize, gets: usize) -> Option<BothEnds<Self>> {
        if gets > 1 {
            return None;
        }
        Some(match capacity {
            None => {
                let (put, get) = mpsc::channel();
                (several(put, puts).into_iter().map(Sender::Unbounded).collect(), vec![get])
            }
            Some(capacity) => {
                let (put, get) = mpsc::sync_channel(capacity);
                (several(put, puts).into_iter().map(Sender::Bounded).collect(), vec![get])
            }
        })
    }

    fn put(end: &Self::Put, item: u64) {
        match end {
            Sender::Unbounded(end) => end.send(item).unwrap(),
            Sender::Bounded(end) => end.send(item).unwrap(),
        }
    }

    fn get(end: &Self::Get) -> Option<u64> {
        end.recv().ok()
    }
}

pub(super) fn benches() -> Vec<Bench> {
    let mut benches = Vec::new();
    for (capacity, kind) in
        [(None, "unbounded"), (Some(0), "0"), (Some(1), "1"), (Some(100), "100")]
    {
        for (puts, gets) in [(1, 1), (4, 1), (1, 4), (4, 4)] {
            let sides = [
                transfer::<Quell>(capacity, puts, gets),
                transfer::<Crossbeam>(capacity, puts, gets),
                transfer::<Flume>(capacity, puts, gets),
                transfer::<Kanal>(capacity, puts, gets),
                transfer::<Standard>(capacity, puts, gets),
            ];
            benches.push(Bench {
                name: format!("queue/{kind}/{puts}:{gets}"),
                what: format!(
                    "time for one item through a queue, {puts} putting and {gets} getting"
                ),
                place: Place::Free,
                at_most: ANY,
                metrics: vec![Metric::time(Goal::Ratio(1.0))],
                sides: sides.into_iter().flatten().collect(),
            });
        }
    }
    benches
}

fn transfer<E: Ends>(capacity: Option<usize>, puts: usize, gets: usize) -> Option<Side> {
    E::ends(capacity, puts, gets)?;
    Some(Side::several(E::NAME, move |count| {
        let (put_ends, get_ends) = E::ends(capacity, puts, gets).expect("there was one");
        let each = count.div_ceil(puts as u64);
        let seen = Mutex::new((0, 0));
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for end in get_ends {
                let seen = &seen;
                scope.spawn(move || {
                    let (mut items, mut sum) = (0, 0);
                    while let Some(item) = E::get(&end) {
                        items += 1;
                        sum += item;
                    }
                    let mut seen = seen.lock().unwrap();
                    *seen = (seen.0 + items, seen.1 + sum);
                });
            }
            for end in put_ends {
                scope.spawn(move || (1..=each).for_each(|item| E::put(&end, item)));
            }
        });
        let took = begin.elapsed().as_nanos() as f64;
        let all = (each * puts as u64, puts as u64 * (each * (each + 1) / 2));
        assert_eq!(seen.into_inner().unwrap(), all, "each item came out once");
        took * count as f64 / all.0 as f64
    }))
}
