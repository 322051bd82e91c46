use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The handshakes that run. For a new one beyond the maximum, one of the peer with the most is ended: its oldest. Silent connections of
/// some peers do not delay those of others.
pub(super) struct Handshakes {
    max: usize,
    running: Arc<Mutex<Running>>,
    ended: Arc<Notify>,
}

/// In the order in which their connections were accepted.
#[derive(Default)]
struct Running {
    next: u64,
    all: BTreeMap<u64, Entry>,
}

struct Entry {
    peer: IpAddr,
    started: Instant,
    evicted: Arc<Notify>,
}

/// A handshake that runs, until this is dropped.
pub(super) struct Handshake {
    number: u64,
    evicted: Arc<Notify>,
    running: Arc<Mutex<Running>>,
    ended: Arc<Notify>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            running: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// Starts one with a peer.
    pub(super) fn start(&self, peer: IpAddr) -> Handshake {
        let evicted = Arc::<Notify>::default();
        let mut running = lock(&self.running);
        if running.all.len() >= self.max {
            running.evict(Duration::ZERO);
        }
        let number = running.next;
        running.next += 1;
        let entry = Entry {
            peer: network(peer),
            started: Instant::now(),
            evicted: Arc::clone(&evicted),
        };
        running.all.insert(number, entry);
        drop(running);
        Handshake {
            number,
            evicted,
            running: Arc::clone(&self.running),
            ended: Arc::clone(&self.ended),
        }
    }

    /// Ends one that takes long, as a new one does beyond the maximum, and waits until one has ended, for this time at most.
    pub(super) async fn end_one(&self, limit: Duration) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        lock(&self.running).evict(LONG);
        // After the time it is tried again.
        let _ = timeout(limit, ended).await;
    }
}

impl Running {
    /// Ends one that has run for at least this time.
    fn evict(&mut self, time: Duration) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.all.values() {
            *counts.entry(entry.peer).or_default() += 1;
        }
        let count = |peer: &IpAddr| counts.get(peer).copied().unwrap_or_default();
        let now = Instant::now();
        let is_long = |entry: &Entry| now.saturating_duration_since(entry.started) >= time;
        let long = || self.all.iter().filter(|(_, entry)| is_long(entry));
        // Of several with the same number, that of the oldest.
        let most = long().map(|(_, entry)| count(&entry.peer)).max();
        let oldest = long()
            .find(|(_, entry)| Some(count(&entry.peer)) == most)
            .map(|(number, _)| *number);
        if let Some(entry) = oldest.and_then(|number| self.all.remove(&number)) {
            entry.evicted.notify_one();
        }
    }
}

impl Handshake {
    /// Returns when another one took its place.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        lock(&self.running).all.remove(&self.number);
        self.ended.notify_waiters();
    }
}

/// What one peer has: an address of version 4, a /64 network of version 6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(prefix).into()
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    // A panic cannot leave the map incomplete.
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handshake of a peer that responds is shorter.
const LONG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_with_the_most_handshakes_loses_its_oldest() {
        let handshakes = Handshakes::new(4);
        let start = |address: &str| handshakes.start(address.parse().unwrap());
        let patient = start("192.0.2.1");
        let flood: Vec<_> = (0..3).map(|_| start("198.51.100.1")).collect();
        let other = start("192.0.2.2");
        let numbers = || {
            let running = lock(&handshakes.running);
            running.all.keys().copied().collect::<Vec<_>>()
        };
        let kept = [&patient, &flood[1], &flood[2], &other].map(|one| one.number);
        assert_eq!(numbers(), kept);
        drop((patient, flood, other));
        assert_eq!(numbers(), [0; 0]);
    }

    /// One that was just accepted is not ended for the next one.
    #[tokio::test(start_paused = true)]
    async fn handshakes_that_take_long_end_for_files() {
        let handshakes = Handshakes::new(4);
        let peer = "192.0.2.1".parse().unwrap();
        let old = handshakes.start(peer);
        tokio::time::advance(LONG / 2).await;
        let new = handshakes.start(peer);
        handshakes.end_one(LONG / 2).await;
        assert_eq!(lock(&handshakes.running).all.len(), 2);
        let end = tokio::spawn(async move { old.evicted().await });
        let started = Instant::now();
        handshakes.end_one(LONG).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        end.await.unwrap();
        assert!(lock(&handshakes.running).all.contains_key(&new.number));
    }

    #[test]
    fn addresses_of_one_network_are_one_peer() {
        for (one, other, is_same) in [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
        ] {
            let [one, other] = [one, other].map(|text| network(text.parse().unwrap()));
            assert_eq!(one == other, is_same, "{one} {other}");
        }
    }
}
