//! Tokens that were refused, by where they came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long refusals are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The most addresses that are remembered: those that are over are forgotten first.
const ADDRESSES: usize = 10_000;

/// How often an address has shown no valid token of late. A token can't be guessed; but whoever tries costs
/// a look into the store each time.
#[derive(Debug)]
pub(crate) struct Failures {
    limit: u32,
    seen: Mutex<HashMap<IpAddr, Counted>>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    since: Instant,
    count: u32,
}

impl Failures {
    /// So many from one address within a minute.
    pub(crate) fn up_to(limit: u32) -> Self {
        Self {
            limit,
            seen: Mutex::default(),
        }
    }

    /// How long an address must wait that has failed too often.
    pub(crate) fn wait(&self, address: IpAddr) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = seen.get(&address)?;
        let left = WINDOW.checked_sub(counted.since.elapsed())?;
        (counted.count >= self.limit).then_some(left)
    }

    /// One more.
    pub(crate) fn add(&self, address: IpAddr) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= ADDRESSES {
            seen.retain(|_, counted| counted.since.elapsed() < WINDOW);
        }
        if seen.len() >= ADDRESSES {
            seen.clear();
        }
        let now = Instant::now();
        let counted = seen.entry(address).or_insert(Counted {
            since: now,
            count: 0,
        });
        if counted.since.elapsed() >= WINDOW {
            *counted = Counted {
                since: now,
                count: 0,
            };
        }
        counted.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_that_fails_often_waits_and_others_do_not() {
        let failures = Failures::up_to(2);
        let [one, other] = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
        failures.add(one);
        assert_eq!(failures.wait(one), None);
        failures.add(one);
        assert!(failures.wait(one).is_some_and(|left| left <= WINDOW));
        assert_eq!(failures.wait(other), None);
    }
}
