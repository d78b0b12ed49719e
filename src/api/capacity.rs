//! Places for connections: so many at one time, so many for one address, and a word to idle ones when places become scarce.
//!
//! Who has asked for something keeps the place. Who has not yet holds it only until somebody else wants it: half a head costs its sender nothing, and must not
//! cost others their turn.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// Open connections of one listener at one time; further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 2_048;
/// Of them from one address, or from one network of IPv6 customers (/64).
pub const MAX_OF_ADDRESS: usize = 256;
/// From this part of all places on that are taken by who has asked for something, in eighths, connections serve one request each.
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

/// The places of one listener.
pub struct Capacity {
    limits: Limits,
    book: Mutex<Book>,
    /// Told when a place becomes free.
    changed: Notify,
    crowded: watch::Sender<bool>,
}

/// Who has a place, in the order of their coming; bounded by the places.
#[derive(Default)]
struct Book {
    next: u64,
    held: BTreeMap<u64, Held>,
    /// How many of them have asked for something.
    served: usize,
}

struct Held {
    origin: IpAddr,
    /// Some: it has not asked for anything yet, and is ended by this.
    waiting: Option<Arc<Notify>>,
}

/// A connection's place, given back when dropped.
pub struct Place {
    capacity: Arc<Capacity>,
    number: u64,
    has_asked: AtomicBool,
    ended: Arc<Notify>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All places of its address are taken by who has asked for something.
    OfAddress,
    /// All places are.
    Everywhere,
}

impl Capacity {
    pub fn new(limits: Limits) -> Arc<Capacity> {
        Arc::new(Capacity { limits, book: Mutex::default(), changed: Notify::new(), crowded: watch::Sender::new(false) })
    }

    /// A place for a connection from this address, as soon as there is one; None when its address has too many. There is one listener to ask for it.
    pub async fn take(self: &Arc<Capacity>, address: IpAddr) -> Option<Place> {
        loop {
            match self.try_take(address) {
                Ok(place) => return Some(place),
                Err(Full::OfAddress) => return None,
                Err(Full::Everywhere) => self.changed.notified().await,
            }
        }
    }

    /// Whoever has waited longest with half a head makes room, of the same address where that has too many.
    fn try_take(self: &Arc<Capacity>, address: IpAddr) -> Result<Place, Full> {
        let origin = origin(address);
        let limit = if origin.is_loopback() { self.limits.of_loopback } else { self.limits.of_address };
        let mut book = self.book();
        let of_address = book.held.values().filter(|held| held.origin == origin).count();
        if of_address >= limit {
            book.end_oldest(|held| held.origin == origin).ok_or(Full::OfAddress)?;
        } else if book.held.len() >= self.limits.connections {
            book.end_oldest(|_| true).ok_or(Full::Everywhere)?;
        }
        let (number, ended) = (book.next, Arc::new(Notify::new()));
        book.next += 1;
        book.held.insert(number, Held { origin, waiting: Some(Arc::clone(&ended)) });
        Ok(Place { capacity: Arc::clone(self), number, has_asked: AtomicBool::new(false), ended })
    }

    fn look(&self, book: &Book) {
        self.crowded.send_if_modified(|crowded| {
            let before = *crowded;
            *crowded = book.served * 8 >= self.limits.connections * if before { CALM_EIGHTHS } else { CROWDED_EIGHTHS };
            before != *crowded
        });
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn end_oldest(&mut self, fits: impl Fn(&Held) -> bool) -> Option<()> {
        let (number, ended) = self
            .held
            .iter()
            .filter(|(_, held)| fits(held))
            .find_map(|(number, held)| Some((*number, Arc::clone(held.waiting.as_ref()?))))?;
        self.held.remove(&number);
        ended.notify_one();
        Some(())
    }
}

impl Place {
    /// The head of a request is there: from now on the place is kept.
    pub fn asked(&self) {
        if self.has_asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut book = self.capacity.book();
        // Not there: its end has been decided, at this very moment.
        if book.held.get_mut(&self.number).is_some_and(|held| held.waiting.take().is_some()) {
            book.served += 1;
            self.capacity.look(&book);
        }
    }

    pub fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// True while places are scarce.
    pub fn crowded(&self) -> watch::Receiver<bool> {
        self.capacity.crowded.subscribe()
    }

    /// Returns, once, when somebody else is given the place.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.capacity.book();
        if let Some(held) = book.held.remove(&self.number) {
            book.served -= usize::from(held.waiting.is_none());
            self.capacity.look(&book);
        }
        drop(book);
        self.capacity.changed.notify_one();
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
    use std::time::Duration;
    use tokio::time::timeout;

    fn waiting(capacity: &Arc<Capacity>, address: &str) -> Result<Place, Full> {
        capacity.try_take(address.parse().unwrap())
    }

    /// One that has made a request.
    fn served(capacity: &Arc<Capacity>, address: &str) -> Result<Place, Full> {
        waiting(capacity, address).inspect(Place::asked)
    }

    async fn is_ended(place: &Place) -> bool {
        timeout(Duration::ZERO, place.ended()).await.is_ok()
    }

    #[test]
    fn one_address_cannot_take_all_places_and_a_proxy_beside_us_can() {
        let capacity = Capacity::new(Limits { connections: 16, of_address: 2, of_loopback: 5 });
        let held: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2"].map(|address| served(&capacity, address).unwrap()).into();
        assert_eq!(waiting(&capacity, "::ffff:192.0.2.1").err(), Some(Full::OfAddress));
        drop(held);
        let _again = served(&capacity, "192.0.2.1").unwrap();
        assert_eq!(capacity.book().held.len(), 1);

        let _customer = ["2001:db8::1", "2001:db8::2"].map(|address| served(&capacity, address).unwrap());
        assert!(waiting(&capacity, "2001:db8::3").is_err());
        let _neighbour = served(&capacity, "2001:db8:0:1::1").unwrap();

        let _proxy: Vec<_> = (0..5).map(|_| served(&capacity, "127.0.0.1").unwrap()).collect();
        assert!(waiting(&capacity, "127.0.0.1").is_err());
    }

    #[tokio::test]
    async fn who_has_waited_longest_makes_room_and_who_has_asked_keeps_the_place() {
        let capacity = Capacity::new(Limits { connections: 4, of_address: 2, of_loopback: 4 });
        let [asked, first] = ["192.0.2.1", "192.0.2.2"].map(|address| waiting(&capacity, address).unwrap());
        asked.asked();
        let [second, third] = ["192.0.2.3", "192.0.2.3"].map(|address| waiting(&capacity, address).unwrap());
        assert!(!is_ended(&first).await);
        // Within its own address, although another one has waited longer and all places are taken.
        let fourth = waiting(&capacity, "192.0.2.3").unwrap();
        assert!(is_ended(&second).await && !is_ended(&first).await && !is_ended(&third).await);
        let fifth = waiting(&capacity, "192.0.2.4").unwrap();
        assert!(is_ended(&first).await && !is_ended(&asked).await);
        assert_eq!(capacity.book().held.len(), 4, "no more than there are places");
        drop((first, second));
        assert_eq!(capacity.book().held.len(), 4, "their places were given back once");

        [&third, &fourth, &fifth].into_iter().for_each(Place::asked);
        assert_eq!(waiting(&capacity, "192.0.2.5").err(), Some(Full::Everywhere));
        assert_eq!(waiting(&capacity, "192.0.2.3").err(), Some(Full::OfAddress));
        let next = tokio::spawn({
            let capacity = Arc::clone(&capacity);
            async move { capacity.take("192.0.2.5".parse().unwrap()).await.is_some() }
        });
        drop(third);
        assert!(next.await.unwrap(), "the place that was given back");
        assert!(capacity.take("192.0.2.3".parse().unwrap()).await.is_some());
    }

    #[test]
    fn a_head_that_ends_at_the_moment_of_its_end_counts_no_place() {
        let capacity = Capacity::new(Limits { connections: 1, of_address: 1, of_loopback: 1 });
        let late = waiting(&capacity, "192.0.2.1").unwrap();
        let next = waiting(&capacity, "192.0.2.2").unwrap();
        late.asked();
        assert_eq!(capacity.book().served, 0);
        drop(late);
        next.asked();
        let book = capacity.book();
        let counted = (book.served, book.held.len());
        drop(book);
        assert_eq!(counted, (1, 1));
    }

    #[test]
    fn scarce_places_are_told_once_and_taken_back_later() {
        let capacity = Capacity::new(Limits { connections: 16, of_address: 16, of_loopback: 16 });
        let mut crowded = capacity.crowded.subscribe();
        let mut held: Vec<_> = (0..13).map(|_| served(&capacity, "192.0.2.1").unwrap()).collect();
        held.push(waiting(&capacity, "192.0.2.1").unwrap());
        assert!(!*crowded.borrow_and_update(), "who has asked for nothing takes no place from who has");
        held[13].asked();
        assert!(*crowded.borrow_and_update());
        held.truncate(12);
        assert!(!crowded.has_changed().unwrap(), "still scarce");
        held.truncate(10);
        assert!(!*crowded.borrow_and_update());
    }
}
