//! Who waits for whom can be asked at any time, with detection off too; as text, JSON and a graph.

#![cfg(not(any(quell_loom, quell_shuttle)))]

mod common;

use common::detection::{until, with};
use quell::deadlock::{Detection, Holder, Kind, name, waits};
use quell::{
    Barrier, Condition, Event, Interrupt, Lock, Queue, RLock, Select, Semaphore, Thread, thread,
};
use std::sync::Arc;
use std::time::Duration;

/// One thread in every kind of wait, and what is shown of it.
#[test]
fn every_kind_of_wait() {
    let _with = with(Detection::Off);
    let (lock, again, event, barrier) =
        (Lock::new(()), RLock::new(()), Event::new(), Barrier::new(2));
    let (condition, semaphore) = (Condition::new(), Semaphore::new(0));
    let (queue, full) = (Queue::<u8>::unbounded(), Queue::bounded(1));
    full.put(0).unwrap();
    let (held, owned) = (lock.lock().unwrap(), again.lock().unwrap());
    let me = quell::current();
    let (cell, own) = (Lock::new(()), Arc::new(Event::new()));
    let joined = {
        let own = Arc::clone(&own);
        thread::spawn(move || own.wait().is_ok())
    };
    let joined_thread = joined.thread().clone();
    thread::scope(|s| {
        let line = line!() + 2;
        let threads = [
            (Kind::Lock, s.spawn(|| lock.lock().is_err())),
            (Kind::RLock, s.spawn(|| again.lock().is_err())),
            (Kind::Thread, s.spawn(|| joined.join().is_err())),
            (Kind::Condition, s.spawn(|| condition.wait(&mut cell.lock().unwrap()).is_err())),
            (Kind::Semaphore, s.spawn(|| semaphore.acquire().is_err())),
            (Kind::Event, s.spawn(|| event.wait().is_err())),
            (Kind::Barrier, s.spawn(|| barrier.wait().is_err())),
            (Kind::Queue, s.spawn(|| queue.get().is_err())),
            (Kind::Queue, s.spawn(|| full.put(1).is_err())),
            (Kind::Queue, s.spawn(|| full.join().is_err())),
            (Kind::Select, s.spawn(|| Select::new().get(&queue, drop).wait().is_err())),
            (Kind::Sleep, s.spawn(|| quell::sleep(Duration::from_secs(3600)).is_err())),
            (Kind::Park, s.spawn(|| thread::park().is_err())),
        ];
        until(|| threads.iter().all(|(_, t)| waits().of(t.thread()).is_some()));
        // The last thing before the sleep is what is shown: it is stable now.
        until(|| threads.iter().all(|(k, t)| waits().of(t.thread()).is_some_and(|w| w.kind == *k)));
        let all = waits();
        assert!(all.of(&me).is_none(), "this one does not wait");
        for (kind, thread) in &threads {
            let waiting = all.of(thread.thread()).unwrap();
            let expected = match kind {
                Kind::Lock => Holder::Unknown,
                Kind::RLock => Holder::Thread(me.clone()),
                Kind::Thread => Holder::Thread(joined_thread.clone()),
                _ => Holder::None,
            };
            assert_eq!(waiting.holder, expected, "{kind:?}");
            let placed = matches!(kind, Kind::Lock | Kind::RLock | Kind::Thread);
            assert_eq!(waiting.at.is_some(), placed, "{kind:?}");
            assert!(
                !placed
                    || waiting
                        .at
                        .unwrap()
                        .location()
                        .unwrap()
                        .file()
                        .ends_with("waits_are_shown.rs")
            );
            assert!(all.to_string().contains(&waiting.to_string()));
        }
        let first = all.of(threads[0].1.thread()).unwrap();
        assert_eq!(first.at.unwrap().location().unwrap().line(), line);
        for (_, thread) in &threads {
            thread.thread().interrupt(Interrupt::new(()));
        }
        for (kind, thread) in threads {
            assert!(thread.join().unwrap(), "{kind:?}");
        }
    });
    drop((held, owned));
    assert_eq!(waits().iter().filter(|w| w.thread != joined_thread).count(), 0);
    own.set();
    until(|| !joined_thread.is_alive());
    assert_eq!(waits().to_string(), "no thread waits\n");
}

/// With detection on: who holds a lock, and where it was taken; also if the holder has ended.
#[test]
fn who_holds_it_and_where_it_was_taken() {
    let _with = with(Detection::Report);
    let (lock, left) = (Lock::new(()), Lock::new(()));
    let _name = name(&left, "left \"behind\"\u{1}");
    let ended = thread::scope(|s| {
        let gone = thread::Builder::new().name("gone".to_owned());
        let gone = gone.spawn_scoped(s, || std::mem::forget(left.lock().unwrap())).unwrap();
        let id = gone.thread().id();
        gone.join().unwrap();
        id
    });
    let held = lock.lock().unwrap();
    let taken_at = line!() - 1;
    let me = quell::current();
    let hour = Duration::from_secs(3600);
    thread::scope(|s| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let one = named("for \\lock").spawn_scoped(s, || lock.lock().is_err()).unwrap();
        let two = named("for left").spawn_scoped(s, || left.lock_timeout(hour).is_err()).unwrap();
        let both = [one.thread().clone(), two.thread().clone()];
        until(|| both.iter().all(|thread| waits().of(thread).is_some()));
        let all = waits();
        let first = all.of(one.thread()).unwrap();
        assert_eq!(first.holder, Holder::Thread(me.clone()));
        assert_eq!(first.taken_at.unwrap().location().unwrap().line(), taken_at);
        let second = all.of(two.thread()).unwrap();
        assert_eq!(second.holder, Holder::Ended(ended));
        assert!(second.limited && !first.limited);
        written(
            &all.to_json(),
            &all.to_dot(),
            &all.to_string(),
            [one.thread(), two.thread(), &me],
            ended.get().get(),
        );
        for thread in &both {
            thread.interrupt(Interrupt::new(()));
        }
        assert!(one.join().unwrap() && two.join().unwrap());
    });
    drop(held);
}

/// What is written of the two waits above, but for numbers that change.
fn written(json: &str, dot: &str, text: &str, [one, two, me]: [&Thread; 3], ended: u64) {
    let (one, two, me) = (one.id(), two.id(), me.id());
    let parts = [
        format!(
            r#"{{"waits":[{{"thread":{{"id":{one},"name":"for \\lock"}},"for":{{"kind":"lock","address":"0x"#
        ),
        format!(r#""holder":{{"state":"thread","id":{me},"#),
        format!(r#"{{"thread":{{"id":{two},"name":"for left"}}"#),
        r#""name":"left \"behind\"\u0001"}"#.to_owned(),
        format!(
            r#""holder":{{"state":"ended","id":{ended},"name":null}},"taken_at":null,"description":null}}]}}"#
        ),
        r#""limited":true,"may_fail":true"#.to_owned(),
    ];
    for part in parts {
        assert!(json.contains(&part), "no {part} in {json}");
    }
    let parts = [
        "digraph waits {\n".to_owned(),
        format!("  t{one} [shape=box, label=\"thread {one} \\\"for \\\\\\\\lock\\\"\"];\n"),
        format!("  t{ended} [shape=box, label=\"thread {ended} (ended)\"];\n"),
        format!(" -> t{ended};\n}}\n"),
        format!(" -> t{me} [label=\"crates/quell/tests/waits_are_shown.rs:"),
        "label=\"lock left \\\"behind\\\"\u{1}\"".to_owned(),
    ];
    for part in parts {
        assert!(dot.contains(&part), "no {part} in {dot}");
    }
    assert!(text.contains(&format!("which thread {ended} took, and has ended since\n")), "{text}");
}
