//! All that grows, with a bound: what does not fit is refused or forgotten, and counted.

use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;

/// A map that holds at most `capacity` entries and forgets the least recently used one to make
/// room. Never iterated in hash order: [`BoundedMap::iter`] runs from the most recently used on.
#[derive(Clone, Debug)]
pub struct BoundedMap<K: Hash + Eq, V> {
    entries: LruCache<K, V, foldhash::fast::FixedState>,
    evicted: u64,
}

impl<K: Hash + Eq, V> BoundedMap<K, V> {
    /// An empty map for `capacity` entries (count; 0 is taken as 1). Memory is taken as entries
    /// come, not ahead.
    pub fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        let mut entries = LruCache::unbounded_with_hasher(foldhash::fast::FixedState::default());
        entries.resize(capacity);
        Self { entries, evicted: 0 }
    }

    /// The value of `key`, now the most recently used.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get_mut(key)
    }

    /// Whether `key` is there, without a change of order.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.contains(key)
    }

    /// The value of `key`, without a change of order.
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.peek(key)
    }

    /// The value of `key`, writable, without a change of order.
    pub fn peek_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.peek_mut(key)
    }

    /// The entry that would have to go next.
    pub fn peek_oldest(&self) -> Option<(&K, &V)> {
        self.entries.peek_lru()
    }

    /// The value of `key`, made by `value` where there is none; now the most recently used.
    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() == self.entries.cap().get() && !self.entries.contains(&key) {
            self.evicted += 1;
        }
        self.entries.get_or_insert_mut(key, value)
    }

    /// Sets a value. Returns the entry that had to go for it.
    pub fn insert(&mut self, key: K, value: V) -> Option<(K, V)> {
        let replaces = self.entries.contains(&key);
        let out = self.entries.push(key, value);
        if replaces {
            return None;
        }
        self.evicted += u64::from(out.is_some());
        out
    }

    /// Takes an entry out.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.pop(key)
    }

    /// Takes the least recently used entry out; not counted as evicted.
    pub fn pop_oldest(&mut self) -> Option<(K, V)> {
        self.entries.pop_lru()
    }

    /// Entries from the most to the least recently used.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    /// Entries from the most to the least recently used, values writable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut()
    }

    /// Entries held (count).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that had to make room so far (count).
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_least_recently_used_and_counts_it() {
        let mut map = BoundedMap::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        map.get_mut("a");
        assert_eq!(map.insert("c", 3), Some(("b", 2)));
        *map.get_or_insert_with("d", || 4) += 1;
        assert_eq!(
            (map.len(), map.evicted(), map.peek("a"), map.peek("d")),
            (2, 2, None, Some(&5))
        );
        assert_eq!(map.insert("d", 6), None);
        assert_eq!(map.evicted(), 2);
    }
}
