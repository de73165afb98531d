//! How many queries run at once, who waits, and in which order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A fixed number of places for running queries, and a queue of a fixed length for those that wait.
///
/// The next place is for whoever runs the least: many queries delay nobody else's. Where the queue is full, the
/// newest query of whoever has most of it makes room for one of somebody who has less.
#[derive(Debug)]
pub(crate) struct Slots {
    waiting_limit: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: usize,
    /// How many queries each user runs, of those who run any.
    running: HashMap<String, usize>,
    /// The users who wait, the longest first.
    users: VecDeque<User>,
}

#[derive(Debug)]
struct User {
    id: String,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

/// A place among the running queries, given on when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    user: String,
}

/// There is no room in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Slots {
    pub(crate) fn new(running: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting_limit: waiting,
            state: Mutex::new(State {
                free: running,
                waiting: 0,
                running: HashMap::new(),
                users: VecDeque::new(),
            }),
        })
    }

    /// A place, as soon as it is this user's turn.
    ///
    /// # Errors
    /// [`Full`] at once, or later when another user's query takes the place in the queue.
    pub(crate) async fn enter(self: &Arc<Self>, user: &str) -> Result<Slot, Full> {
        let turn = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(self.slot(&mut state, user));
            }
            if state.waiting >= self.waiting_limit {
                state.make_room_for(user)?;
            }
            let (sender, turn) = oneshot::channel();
            state.waiting += 1;
            state.queue_of(user).push_back(sender);
            turn
        };
        turn.await.map_err(|_| Full)
    }

    /// How many queries wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn slot(self: &Arc<Self>, state: &mut State, user: &str) -> Slot {
        *state.running.entry(user.to_owned()).or_default() += 1;
        Slot {
            slots: Arc::clone(self),
            user: user.to_owned(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn queue_of(&mut self, user: &str) -> &mut VecDeque<oneshot::Sender<Slot>> {
        let place = self.users.iter().position(|known| known.id == user);
        let place = place.unwrap_or_else(|| {
            self.users.push_back(User {
                id: user.to_owned(),
                waiting: VecDeque::new(),
            });
            self.users.len() - 1
        });
        &mut self.users[place].waiting
    }

    /// Takes a place in the queue from whoever has most of them.
    fn make_room_for(&mut self, user: &str) -> Result<(), Full> {
        self.forget_gone();
        let own = self.users.iter().find(|known| known.id == user);
        let own = own.map_or(0, |known| known.waiting.len());
        let most = self
            .users
            .iter_mut()
            .max_by_key(|known| known.waiting.len());
        let most = most
            .filter(|most| most.waiting.len() > own + 1)
            .ok_or(Full)?;
        // Its query hears of it when the sender is dropped.
        most.waiting.pop_back();
        self.waiting -= 1;
        Ok(())
    }

    /// Lets go of those who no longer wait.
    fn forget_gone(&mut self) {
        for user in &mut self.users {
            user.waiting.retain(|sender| !sender.is_closed());
        }
        self.users.retain(|user| !user.waiting.is_empty());
        self.waiting = self.users.iter().map(|user| user.waiting.len()).sum();
    }

    /// Whose turn it is: of those who run the least the one who has waited longest, and of that one's
    /// queries the first.
    fn next(&mut self) -> Option<(String, oneshot::Sender<Slot>)> {
        let runs = |user: &User| self.running.get(&user.id).copied().unwrap_or_default();
        let least = self.users.iter().map(runs).min()?;
        let place = self.users.iter().position(|user| runs(user) == least)?;
        let mut user = self.users.remove(place)?;
        let sender = user.waiting.pop_front()?;
        self.waiting -= 1;
        let id = user.id.clone();
        if !user.waiting.is_empty() {
            self.users.push_back(user);
        }
        Some((id, sender))
    }

    /// One query of a user's has ended.
    fn ended(&mut self, user: &str) {
        if let Some(running) = self.running.get_mut(user) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(user);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let next = {
            let mut state = self.slots.state();
            state.ended(&self.user);
            state.forget_gone();
            match state.next() {
                None => {
                    state.free += 1;
                    None
                }
                Some((user, sender)) => Some((self.slots.slot(&mut state, &user), sender)),
            }
        };
        // Where nobody takes it any more, dropping it gives it on.
        if let Some((slot, sender)) = next {
            let _ = sender.send(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn users_take_turns() {
        let slots = Slots::new(1, 8);
        let running = slots.enter("a").await.expect("free");
        let mut waiting: Vec<_> = ["a", "a", "a", "b"]
            .map(|user| Box::pin(slots.enter(user)))
            .into();
        for query in &mut waiting {
            assert!(query.now_or_never().is_none(), "it waits");
        }
        drop(running);
        let first = waiting[0].as_mut().now_or_never().expect("its turn");
        drop(first.expect("a slot"));
        assert!(waiting[1].as_mut().now_or_never().is_none());
        let other = waiting[3]
            .as_mut()
            .now_or_never()
            .expect("the other user's turn");
        drop(other.expect("a slot"));
        drop(
            waiting[1]
                .as_mut()
                .now_or_never()
                .expect("the first user's turn again"),
        );
    }

    #[tokio::test]
    async fn a_full_queue_makes_room_for_those_who_have_less_of_it() {
        let slots = Slots::new(1, 3);
        let _running = slots.enter("a").await.expect("free");
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(slots.enter("a"))).collect();
        for query in &mut waiting {
            assert!(query.now_or_never().is_none(), "it waits");
        }
        assert_eq!(slots.enter("a").await.err(), Some(Full));
        let mut other = Box::pin(slots.enter("b"));
        assert!(other.as_mut().now_or_never().is_none(), "it waits");
        let newest = waiting[2].as_mut().now_or_never().expect("told");
        assert_eq!(newest.err(), Some(Full));
    }

    #[tokio::test]
    async fn one_that_has_gone_is_passed_over() {
        let slots = Slots::new(1, 2);
        let running = slots.enter("a").await.expect("free");
        let mut gone = Box::pin(slots.enter("a"));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(gone);
        drop(running);
        slots.enter("b").await.expect("free again");
        assert_eq!(slots.waiting(), 0);
    }
}
