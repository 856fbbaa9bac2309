//! What is armed, earliest first: a heap in which everything knows its place, so that it can be taken out again.
//!
//! A heap of four branches: half as deep as one of two, and four entries of 16 bytes are one line of the cache. A slot
//! holds a function and its place in the heap; who armed it has the slot's number, and its generation, which is never
//! used again. Arming puts an entry at the end and lets it rise, which for later and later deadlines it does not;
//! cancelling puts the last entry into the gap. Both move about one entry, and neither leaves anything behind.
//!
//! Slots are kept in chunks, so that growing moves none, and no operation takes long because many are armed. Their places in
//! the heap stand apart from the rest: each entry that moves changes one, anywhere among all, and of a million deadlines
//! four megabytes stay in the cache where sixty do not. When nothing is armed, all slots count as new, from the first one on,
//! and whoever cancels something later gives back one of the chunks that were not needed since: the memory of a million
//! goes, and nobody pays for all of it. So does the monitor when it has nothing to run; it alone gives back the entries, which
//! are one block. An allocator may take a free of that size for the moment to return to the system what the whole program has
//! freed, a quarter of a second for a few hundred megabytes, so no free comes before a deadline that is due, or under a lock.

/// How many slots come at once.
const CHUNK: usize = 1024;
const BRANCHES: usize = 4;
/// In a free slot: no other is.
const NONE: u32 = u32::MAX;
/// In a slot whose value was taken to come back.
const IN_HAND: u32 = u32::MAX - 1;
/// So much storage is kept.
const KEEP_CHUNKS: usize = 16;

/// Where an armed value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    slot: u32,
    generation: u64,
}

/// Values by their keys, the lowest first; of equal keys the oldest.
pub(super) struct Heap<V> {
    entries: Vec<Entry>,
    chunks: Vec<Chunk<V>>,
    /// The first slot that was used and is free; they are a list through their places.
    free: u32,
    /// The first slot that was not used since nothing was armed; so are all behind it.
    fresh: u32,
    /// How many slots are not free.
    used: usize,
    /// The generation of the last one armed.
    count: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    /// The generation's lower half, to order equal keys.
    order: u32,
    slot: u32,
}

/// So many slots.
struct Chunk<V> {
    /// For each slot, its entry's index, or `IN_HAND`; for a free slot, the next free one.
    at: Box<[u32; CHUNK]>,
    slots: Box<[Slot<V>]>,
}

struct Slot<V> {
    generation: u64,
    value: Option<V>,
}

impl Entry {
    fn before(&self, other: &Entry) -> bool {
        if self.key != other.key {
            return self.key < other.key;
        }
        // Around the end of the numbers: of two, the one that is less than half of them behind.
        other.order.wrapping_sub(self.order) as i32 > 0
    }
}

/// Storage that is not needed any more; drop it outside of locks.
pub(super) struct Spare<V> {
    _chunk: Chunk<V>,
    _entries: Vec<Entry>,
}

impl<V> Heap<V> {
    pub(super) const fn new() -> Heap<V> {
        Heap { entries: Vec::new(), chunks: Vec::new(), free: NONE, fresh: 0, used: 0, count: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The lowest key.
    #[inline]
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.first().map(|entry| entry.key)
    }

    /// Adds a value.
    ///
    /// # Panics
    /// If there are more than 2³² - 1.
    #[inline]
    pub(super) fn push(&mut self, key: u64, value: V) -> Place {
        let slot = self.take_slot();
        self.count += 1;
        let generation = self.count;
        let at = self.entries.len();
        let entry = Entry { key, order: generation as u32, slot };
        *self.slot(slot) = Slot { generation, value: Some(value) };
        self.used += 1;
        self.entries.push(entry);
        self.rise(at, entry);
        Place { slot, generation }
    }

    /// Takes out the value with the lowest key. Its place is nobody's from now on.
    pub(super) fn take(&mut self) -> Option<(V, Place)> {
        let slot = self.entries.first()?.slot;
        let generation = self.slot(slot).generation;
        let value = self.release(slot);
        self.close_gap(0);
        value.map(|value| (value, Place { slot, generation }))
    }

    /// The value with the lowest key.
    pub(super) fn peek(&mut self) -> Option<&V> {
        let first = self.entries.first()?.slot;
        self.slot(first).value.as_ref()
    }

    /// Takes out the value with the lowest key, to [give it back](Heap::give_back) under the same place.
    pub(super) fn borrow(&mut self) -> Option<(V, Place)> {
        let slot = self.entries.first()?.slot;
        *self.at(slot) = IN_HAND;
        let held = self.slot(slot);
        let (value, generation) = (held.value.take(), held.generation);
        self.close_gap(0);
        value.map(|value| (value, Place { slot, generation }))
    }

    /// Puts a borrowed value back in, with a new key.
    ///
    /// # Errors
    /// The value, if its place was removed in the meantime.
    pub(super) fn give_back(&mut self, place: Place, key: u64, value: V) -> Result<(), V> {
        if !self.is_borrowed(place) {
            return Err(value);
        }
        self.count += 1;
        let entry = Entry { key, order: self.count as u32, slot: place.slot };
        let at = self.entries.len();
        self.slot(place.slot).value = Some(value);
        self.entries.push(entry);
        self.rise(at, entry);
        Ok(())
    }

    /// Takes a value out. `None`: it is not here any more, or in somebody's hand, who then cannot give it back.
    #[inline]
    pub(super) fn remove(&mut self, place: Place) -> Option<V> {
        if let Some(at) = self.find(place) {
            let value = self.release(place.slot);
            self.close_gap(at);
            return value;
        }
        if self.is_borrowed(place) {
            self.release(place.slot);
        }
        None
    }

    /// Whether a value is still here, or borrowed.
    pub(super) fn contains(&self, place: Place) -> bool {
        self.find(place).is_some() || self.is_borrowed(place)
    }

    /// A chunk of the storage, if there are many, and most of them were not used since nothing was armed.
    #[inline]
    pub(super) fn spare_chunk(&mut self) -> Option<Spare<V>> {
        if self.chunks.len() <= self.needed() {
            return None;
        }
        self.chunks.pop().map(|chunk| Spare { _chunk: chunk, _entries: Vec::new() })
    }

    /// The same, with the room for entries that is not needed either.
    pub(super) fn spare(&mut self) -> Option<Spare<V>> {
        let mut spare = self.spare_chunk()?;
        if self.entries.capacity() > self.needed() * CHUNK {
            // Half as many as there is room for, at most. To shrink the block in its place is to free its end.
            let kept = self.entries.clone();
            spare._entries = std::mem::replace(&mut self.entries, kept);
        }
        Some(spare)
    }

    /// For how many values there is room, and for how many entries.
    #[cfg(test)]
    pub(super) fn room(&self) -> (usize, usize) {
        (self.chunks.len() * CHUNK, self.entries.capacity())
    }

    /// How many chunks are worth keeping.
    #[inline]
    fn needed(&self) -> usize {
        (2 * (self.fresh as usize).div_ceil(CHUNK)).max(KEEP_CHUNKS)
    }

    /// A free slot.
    #[inline]
    fn take_slot(&mut self) -> u32 {
        let slot = self.free;
        if slot != NONE {
            self.free = *self.at(slot);
            return slot;
        }
        if self.fresh as usize == self.chunks.len() * CHUNK {
            self.grow();
        }
        self.fresh += 1;
        self.fresh - 1
    }

    fn find(&self, place: Place) -> Option<usize> {
        let (slot, at) = self.look(place)?;
        slot.value.is_some().then_some(at as usize)
    }

    fn is_borrowed(&self, place: Place) -> bool {
        self.look(place).is_some_and(|(_, at)| at == IN_HAND)
    }

    /// The slot, if it is still this place's.
    #[inline]
    fn look(&self, place: Place) -> Option<(&Slot<V>, u32)> {
        let index = place.slot as usize % CHUNK;
        let chunk = self.chunks.get(place.slot as usize / CHUNK)?;
        let slot = &chunk.slots[index];
        (slot.generation == place.generation).then_some((slot, chunk.at[index]))
    }

    #[inline]
    fn slot(&mut self, slot: u32) -> &mut Slot<V> {
        &mut self.chunks[slot as usize / CHUNK].slots[slot as usize % CHUNK]
    }

    #[inline]
    fn at(&mut self, slot: u32) -> &mut u32 {
        &mut self.chunks[slot as usize / CHUNK].at[slot as usize % CHUNK]
    }

    #[inline]
    fn put(&mut self, at: usize, entry: Entry) {
        self.entries[at] = entry;
        *self.at(entry.slot) = at as u32;
    }

    /// Empties a slot, and makes it free.
    #[inline]
    fn release(&mut self, slot: u32) -> Option<V> {
        *self.at(slot) = self.free;
        let emptied = self.slot(slot);
        let value = emptied.value.take();
        // No place has this one.
        emptied.generation = 0;
        self.free = slot;
        self.used -= 1;
        if self.used == 0 {
            (self.free, self.fresh) = (NONE, 0);
        }
        value
    }

    /// Fills the gap that an entry leaves.
    #[inline]
    fn close_gap(&mut self, at: usize) {
        let last = self.entries.pop().expect("the one that leaves, at least");
        if at < self.entries.len() {
            // It comes from elsewhere in the heap, so it may belong further up or further down.
            if at > 0 && last.before(&self.entries[(at - 1) / BRANCHES]) {
                self.rise(at, last);
            } else {
                self.sink(at, last);
            }
        }
    }

    /// Puts an entry where it belongs, at a gap or above.
    #[inline]
    fn rise(&mut self, mut at: usize, entry: Entry) {
        while at > 0 {
            let parent = (at - 1) / BRANCHES;
            let above = self.entries[parent];
            if !entry.before(&above) {
                break;
            }
            self.put(at, above);
            at = parent;
        }
        self.put(at, entry);
    }

    /// Puts an entry where it belongs, at a gap or below.
    fn sink(&mut self, mut at: usize, entry: Entry) {
        loop {
            let from = at * BRANCHES + 1;
            let children = self.entries.iter().enumerate().skip(from).take(BRANCHES);
            let least = children.reduce(|a, b| if b.1.before(a.1) { b } else { a });
            match least {
                Some((child, &below)) if below.before(&entry) => {
                    self.put(at, below);
                    at = child;
                }
                _ => break,
            }
        }
        self.put(at, entry);
    }

    #[cold]
    fn grow(&mut self) {
        let from = self.chunks.len() * CHUNK;
        assert!(from + CHUNK < IN_HAND as usize, "too many deadlines are armed at once");
        let new = |_| Slot { generation: 0, value: None };
        let slots = (0..CHUNK).map(new).collect();
        self.chunks.push(Chunk { at: Box::new([NONE; CHUNK]), slots });
    }
}

#[cfg(all(test, not(any(quell_loom, quell_shuttle))))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Against a sorted map, through millions of states.
    #[test]
    fn as_a_sorted_map() {
        let mut seed = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 20) % below
        };
        for round in 0..30 {
            let mut heap = Heap::new();
            let mut map: BTreeMap<(u64, u64), Place> = BTreeMap::new();
            let mut gone: Vec<Place> = Vec::new();
            let (mut count, keys) = (0, 1 + random(1 << (round % 20)));
            for _ in 0..20_000 {
                match random(if map.len() > 3000 { 5 } else { 9 }) {
                    3 if !map.is_empty() => {
                        let (value, place) = heap.borrow().unwrap();
                        let ((_, number), same) = map.pop_first().unwrap();
                        assert_eq!((value, place), (number, same));
                        assert!(heap.contains(place));
                        if random(3) == 0 {
                            assert_eq!(heap.remove(place), None);
                            assert_eq!(heap.give_back(place, 0, value), Err(value));
                            gone.push(place);
                        } else {
                            let key = random(keys);
                            heap.give_back(place, key, value).unwrap();
                            // The youngest of its key now, as the map sees it too.
                            map.insert((key, count), place);
                            assert_eq!(heap.remove(place), Some(value));
                            map.remove(&(key, count));
                            gone.push(place);
                        }
                    }
                    0 => {
                        let taken = heap.take();
                        let first = map.pop_first();
                        assert_eq!(taken, first.map(|((_, number), place)| (number, place)));
                        gone.extend(first.map(|(_, place)| place));
                    }
                    1 | 2 if !map.is_empty() => {
                        let at = map.range((random(keys), 0)..).next().or(map.first_key_value());
                        let ((key, number), place) = at.map(|(k, p)| (*k, *p)).unwrap();
                        assert!(heap.contains(place));
                        assert_eq!(heap.remove(place), Some(number));
                        map.remove(&(key, number));
                        gone.push(place);
                    }
                    _ => {
                        let key = random(keys);
                        map.insert((key, count), heap.push(key, count));
                        count += 1;
                    }
                }
                assert_eq!(heap.first(), map.first_key_value().map(|(k, _)| k.0));
                assert_eq!(heap.len(), map.len());
            }
            assert!(gone.iter().all(|place| !heap.contains(*place)));
            assert!(gone.into_iter().all(|place| heap.remove(place).is_none()));
        }
    }

    /// A place is never that of another, not even after the storage was given back; which it is, bit by bit.
    #[test]
    fn storage_comes_and_goes() {
        let mut heap = Heap::new();
        let many = CHUNK * (KEEP_CHUNKS + 3);
        let places: Vec<_> = (0..many).map(|i| heap.push(i as u64, i)).collect();
        for (i, place) in places.iter().enumerate() {
            assert!(heap.spare().is_none());
            assert_eq!(heap.remove(*place), Some(i));
        }
        assert!(heap.spare_chunk().is_some());
        assert!(heap.entries.capacity() >= many, "who cancels does not free a large block");
        // While something is armed, in the storage that is left.
        let again = heap.push(7, 7);
        assert!(places.iter().all(|place| !heap.contains(*place)));
        assert!(heap.contains(again));
        assert!(heap.spare().is_some() && heap.spare().is_some() && heap.spare().is_none());
        assert!(heap.entries.capacity() <= KEEP_CHUNKS * CHUNK);
        assert_eq!(heap.take(), Some((7, again)));
        assert_eq!(heap.take(), None);
        let places: Vec<_> = (0..many).map(|i| heap.push(i as u64, i)).collect();
        assert!(places.iter().all(|place| heap.contains(*place)));
        assert!((0..many).all(|i| heap.take() == Some((i, places[i]))));
    }
}
