use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The handshakes that run. For a new one beyond the maximum, one of the peer with the most is ended: its oldest. Silent connections of
/// some peers do not delay those of others.
pub(super) struct Handshakes {
    max: usize,
    running: Arc<Mutex<Running>>,
}

/// In the order in which their connections were accepted.
#[derive(Default)]
struct Running {
    next: u64,
    all: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
}

/// A handshake that runs, until this is dropped.
pub(super) struct Handshake {
    number: u64,
    evicted: Arc<Notify>,
    running: Arc<Mutex<Running>>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            running: Arc::default(),
        }
    }

    /// Starts one with a peer.
    pub(super) fn start(&self, peer: IpAddr) -> Handshake {
        let evicted = Arc::<Notify>::default();
        let mut running = lock(&self.running);
        if running.all.len() >= self.max {
            running.evict();
        }
        let number = running.next;
        running.next += 1;
        let entry = (network(peer), Arc::clone(&evicted));
        running.all.insert(number, entry);
        drop(running);
        Handshake {
            number,
            evicted,
            running: Arc::clone(&self.running),
        }
    }
}

impl Running {
    fn evict(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (peer, _) in self.all.values() {
            *counts.entry(*peer).or_default() += 1;
        }
        let count = |peer: &IpAddr| counts.get(peer).copied().unwrap_or_default();
        // Of several with the same number, that of the oldest.
        let most = self.all.values().map(|(peer, _)| count(peer)).max();
        let oldest = self
            .all
            .iter()
            .find(|(_, (peer, _))| Some(count(peer)) == most)
            .map(|(number, _)| *number);
        if let Some((_, evicted)) = oldest.and_then(|number| self.all.remove(&number)) {
            evicted.notify_one();
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
