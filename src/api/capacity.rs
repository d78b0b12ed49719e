//! Places for connections: so many at one time, so many for one address, and a word to idle ones when places become scarce.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Open connections at one time; further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 2_048;
/// Of them from one address, or from one network of IPv6 customers (/64).
pub const MAX_OF_ADDRESS: usize = 256;
/// From this part of all places taken on, in eighths, connections serve one request each.
const CROWDED_EIGHTHS: usize = 7;
/// And down to this part, so that the two do not alternate with every connection.
const CALM_EIGHTHS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    pub of_address: usize,
    /// A proxy on this machine brings everybody's connections from one address.
    pub of_loopback: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections: MAX_CONNECTIONS, of_address: MAX_OF_ADDRESS, of_loopback: MAX_CONNECTIONS }
    }
}

/// Shared by all listeners of a manager.
pub struct Capacity {
    limits: Limits,
    places: Arc<Semaphore>,
    /// Open connections by where they come from; bounded by the places.
    by_origin: Mutex<HashMap<IpAddr, usize>>,
    crowded: watch::Sender<bool>,
}

/// A connection's place, given back when dropped.
pub struct Place {
    capacity: Arc<Capacity>,
    origin: IpAddr,
    _permit: OwnedSemaphorePermit,
}

/// All places of one address are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Capacity {
    pub fn new(limits: Limits) -> Arc<Capacity> {
        let places = Arc::new(Semaphore::new(limits.connections));
        Arc::new(Capacity { limits, places, by_origin: Mutex::default(), crowded: watch::Sender::new(false) })
    }

    /// Waits until there is a place for anybody.
    pub async fn free(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// A place for a connection from this address.
    pub fn take(self: &Arc<Capacity>, permit: OwnedSemaphorePermit, address: IpAddr) -> Result<Place, TooMany> {
        let origin = origin(address);
        let limit = if origin.is_loopback() { self.limits.of_loopback } else { self.limits.of_address };
        let mut counts = self.counts();
        let count = counts.entry(origin).or_default();
        if *count >= limit {
            return Err(TooMany);
        }
        *count += 1;
        drop(counts);
        self.look();
        Ok(Place { capacity: Arc::clone(self), origin, _permit: permit })
    }

    /// True while places are scarce.
    pub fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }

    fn look(&self) {
        let eighths = (self.limits.connections - self.places.available_permits()) * 8;
        self.crowded.send_if_modified(|crowded| {
            let before = *crowded;
            *crowded = eighths >= self.limits.connections * if before { CALM_EIGHTHS } else { CROWDED_EIGHTHS };
            before != *crowded
        });
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.capacity.counts();
        if let Some(count) = counts.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.origin);
            }
        }
        drop(counts);
        self.capacity.look();
    }
}

fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(capacity: &Arc<Capacity>, address: &str) -> Result<Place, TooMany> {
        let permit = Arc::clone(&capacity.places).try_acquire_owned().unwrap();
        capacity.take(permit, address.parse().unwrap())
    }

    #[test]
    fn one_address_cannot_take_all_places_and_a_proxy_beside_us_can() {
        let capacity = Capacity::new(Limits { connections: 16, of_address: 2, of_loopback: 5 });
        let held: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|address| take(&capacity, address).unwrap()).into();
        assert_eq!(take(&capacity, "::ffff:192.0.2.1").err(), Some(TooMany));
        drop(held);
        let _again = take(&capacity, "192.0.2.1").unwrap();
        assert_eq!(capacity.counts().len(), 1);

        let _customer = ["2001:db8::1", "2001:db8::2"].map(|address| take(&capacity, address).unwrap());
        assert!(take(&capacity, "2001:db8::3").is_err());
        let _neighbour = take(&capacity, "2001:db8:0:1::1").unwrap();

        let _proxy: Vec<_> = (0..5).map(|_| take(&capacity, "127.0.0.1").unwrap()).collect();
        assert!(take(&capacity, "127.0.0.1").is_err());
    }

    #[test]
    fn scarce_places_are_told_once_and_taken_back_later() {
        let capacity = Capacity::new(Limits { connections: 16, of_address: 16, of_loopback: 16 });
        let mut crowded = capacity.crowded();
        let mut held: Vec<_> = (0..13).map(|_| take(&capacity, "192.0.2.1").unwrap()).collect();
        assert!(!*crowded.borrow_and_update());
        held.push(take(&capacity, "192.0.2.1").unwrap());
        assert!(*crowded.borrow_and_update());
        held.truncate(12);
        assert!(!crowded.has_changed().unwrap(), "still scarce");
        held.truncate(10);
        assert!(!*crowded.borrow_and_update());
    }
}
