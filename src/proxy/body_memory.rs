//! How much all kept request bodies may hold together: room is leased before it is used, and comes back by itself.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What room is counted in: one permit of the semaphore, which hands out only so many at once.
const UNIT: usize = 1 << 10;

/// The room there is for bodies.
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    units: u32,
    /// What is leased now, in bytes.
    leased: IntGauge,
}

/// Room for one body; given back when dropped.
#[must_use]
pub(crate) struct Lease {
    permit: OwnedSemaphorePermit,
    leased: IntGauge,
}

impl Memory {
    pub(crate) fn new(bytes: usize, leased: IntGauge) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self {
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            leased,
        }
    }

    /// All of it, in bytes.
    pub(super) fn size(&self) -> usize {
        self.units as usize * UNIT
    }

    /// Room for so many bytes if it is free now, and nobody waits for it.
    pub(super) fn try_lease(&self, bytes: usize) -> Option<Lease> {
        let units = units(bytes)?;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(units).ok()?;
        Some(self.lease_of(permit))
    }

    /// The same, once it is free: first come, first served. `None`: there will never be so much.
    ///
    /// Whoever holds a lease must not wait for another: two could wait for each other.
    pub(super) async fn lease(&self, bytes: usize) -> Option<Lease> {
        let units = units(bytes).filter(|units| *units <= self.units)?;
        let permit = Arc::clone(&self.room)
            .acquire_many_owned(units)
            .await
            .ok()?;
        Some(self.lease_of(permit))
    }

    /// Makes a lease as large as this if there is room now.
    pub(super) fn try_grow(&self, lease: &mut Lease, bytes: usize) -> bool {
        let more = self.try_lease(bytes.saturating_sub(lease.bytes()));
        more.map(|more| lease.merge(more)).is_some()
    }

    fn lease_of(&self, permit: OwnedSemaphorePermit) -> Lease {
        let lease = Lease {
            permit,
            leased: self.leased.clone(),
        };
        lease.leased.add(lease.bytes() as i64);
        lease
    }
}

fn units(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(UNIT)).ok()
}

impl Lease {
    pub(super) fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT
    }

    /// Gives back what is more than this.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self
            .permit
            .num_permits()
            .saturating_sub(bytes.div_ceil(UNIT));
        if let Some(surplus) = self.permit.split(surplus) {
            self.leased.sub((surplus.num_permits() * UNIT) as i64);
        }
    }

    /// The body that this room is for: given back when the last piece of it is let go of, wherever that is.
    pub(super) fn hold(self, body: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(LeasedBody { body, _lease: self })
    }

    fn merge(&mut self, mut other: Self) {
        if let Some(permit) = other.permit.split(other.permit.num_permits()) {
            self.permit.merge(permit);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leased.sub(self.bytes() as i64);
    }
}

struct LeasedBody<B> {
    body: B,
    _lease: Lease,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for LeasedBody<B> {
    fn as_ref(&self) -> &[u8] {
        self.body.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: usize) -> (Memory, IntGauge) {
        let gauge = IntGauge::new("leased", "leased").unwrap();
        (Memory::new(bytes, gauge.clone()), gauge)
    }

    #[test]
    fn room_is_leased_once_and_comes_back_with_the_last_piece() {
        let (memory, leased) = memory(10 << 10);
        let lease = memory.try_lease(5000).unwrap();
        assert_eq!((lease.bytes(), leased.get()), (5 << 10, 5 << 10));
        assert!(memory.try_lease(6 << 10).is_none());
        let body = lease.hold(vec![1; 5000]);
        let piece = body.slice(10..20);
        drop(body);
        assert_eq!(leased.get(), 5 << 10);
        drop(piece);
        assert_eq!(leased.get(), 0);
        assert!(memory.try_lease(10 << 10).is_some());
    }

    #[test]
    fn a_lease_grows_and_shrinks_and_is_counted_right() {
        let (memory, leased) = memory(10 << 10);
        let mut lease = memory.try_lease(0).unwrap();
        assert!(memory.try_grow(&mut lease, 4 << 10));
        assert!(!memory.try_grow(&mut lease, 11 << 10));
        assert!(memory.try_grow(&mut lease, 10 << 10));
        assert_eq!((lease.bytes(), leased.get()), (10 << 10, 10 << 10));
        lease.shrink_to(1);
        assert_eq!((lease.bytes(), leased.get()), (1 << 10, 1 << 10));
        lease.shrink_to(5 << 10);
        assert_eq!(lease.bytes(), 1 << 10);
        drop(lease);
        assert_eq!(leased.get(), 0);
        assert_eq!(memory.room.available_permits(), 10);
    }

    #[tokio::test]
    async fn who_waits_is_served_before_who_comes_later() {
        let (memory, _) = memory(10 << 10);
        let memory = Arc::new(memory);
        let first = memory.try_lease(8 << 10).unwrap();
        let waiting = tokio::spawn({
            let memory = Arc::clone(&memory);
            async move { memory.lease(9 << 10).await }
        });
        while memory.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(
            memory.try_lease(1 << 10).is_none(),
            "what is free is promised"
        );
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert_eq!(second.bytes(), 9 << 10);
        assert!(
            memory.lease(11 << 10).await.is_none(),
            "there is never so much"
        );
    }
}
