//! Instruments already resolved, by key: a look-up takes one of many short read locks, never a common one.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, Hash},
};

use foldhash::fast::RandomState;
use parking_lot::RwLock;

const SHARDS: usize = 16;

/// A map that only grows, to as many keys as the config allows. No client chooses one: they need no hash that is made to
/// withstand that, and are looked up several times in each request.
pub(super) struct Handles<K, H> {
    hasher: RandomState,
    shards: [RwLock<HashMap<K, H, RandomState>>; SHARDS],
}

impl<K, H> Default for Handles<K, H> {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: Default::default(),
        }
    }
}

impl<K: Eq + Hash, H: Clone> Handles<K, H> {
    /// The handle of `key`, made on first use.
    pub(super) fn find_or_make(&self, key: K, make: impl FnOnce() -> H) -> H {
        let shard = self.shard(&key);
        if let Some(handle) = shard.read().get(&key) {
            return handle.clone();
        }
        shard.write().entry(key).or_insert_with(make).clone()
    }

    /// The handle of `key`, where it was made.
    pub(super) fn find(&self, key: &K) -> Option<H> {
        self.shard(key).read().get(key).cloned()
    }

    /// The handle of `key`, made on first use if it may be.
    pub(super) fn of_if(&self, key: K, make: impl FnOnce() -> Option<H>) -> Option<H> {
        match self.shard(&key).write().entry(key) {
            Entry::Occupied(entry) => Some(entry.get().clone()),
            Entry::Vacant(entry) => Some(entry.insert(make()?).clone()),
        }
    }

    fn shard(&self, key: &K) -> &RwLock<HashMap<K, H, RandomState>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Shows all that there are, a shard at a time. Not for the request path.
    pub(super) fn each(&self, mut show: impl FnMut(&K, &H)) {
        for shard in &self.shards {
            shard
                .read()
                .iter()
                .for_each(|(key, handle)| show(key, handle));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_made_once() {
        let handles = Handles::default();
        assert_eq!(handles.find_or_make("a", || 1), 1);
        assert_eq!(handles.find_or_make("a", || unreachable!()), 1);
        assert_eq!(handles.find_or_make("b", || 2), 2);
        let mut all = Vec::new();
        handles.each(|key, handle| all.push((*key, *handle)));
        all.sort_unstable();
        assert_eq!(all, [("a", 1), ("b", 2)]);
    }
}
