//! The rooms of a shard, as any thread may look them up: an `ArcSwap` snapshot of a persistent set.
//!
//! The *set* of rooms is shared and changes rarely; each change copies one path of the tree,
//! O(log rooms). The *members* of a room change often and are the shard's own affair.
//!
//! # Who creates and who removes
//!
//! A joiner puts the room into the index before its command enters the shard's inbox, so that a
//! publish by anybody who knows of the join finds the room. The shard takes the room out when the
//! last member is gone. The two race, and [`Room::claim`] decides: a room counts its members and
//! the joins on their way to it; the shard retires a room only by moving that count from zero to
//! `RETIRED`, and a claim on a retired room fails, so that its joiner puts a fresh one in its
//! place. A model checks that race (`tests/models/loom/room_index.rs`).
//!
//! Finding is wait-free. Claiming and removing retry while another thread swaps the snapshot.
//!
//! Who has to know which rooms there are without asking, such as a backplane that subscribes for
//! them, is told by a [`RoomWatch`].

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use rpds::HashTrieSetSync;

use super::budget::{Budget, Budgets};
use super::room::Room;
use super::sync::ArcSwap;

/// A room as an element of the set: equal and hashed by name.
#[derive(Clone)]
struct ByName(Arc<Room>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}

type RoomSet = HashTrieSetSync<ByName, RandomState>;

/// Is told when rooms come and go. Each room that was made is gone once; the calls of several
/// threads, and of several shards with a room of one name, may come in any order, so count them.
pub trait RoomWatch: Send + Sync {
    /// A room is about to be made: whoever finds it in the index can rely on this call.
    fn made(&self, name: &str);

    /// A room is not in the index any more.
    fn gone(&self, name: &str);
}

/// The set of rooms that have members in a shard.
pub struct RoomIndex {
    rooms: ArcSwap<RoomSet>,
    watch: Option<Arc<dyn RoomWatch>>,
    /// Taken from by who makes a room, given back by who takes it out, or finds another's in its place.
    budget: Arc<Budget>,
}

/// The rooms of an index at one moment.
pub struct Snapshot(Arc<RoomSet>);

impl Snapshot {
    /// Their names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|room| room.0.name())
    }
}

/// A room was not made because there are as many as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMoreRooms {
    /// The bound.
    pub rooms_max: usize,
}

impl RoomIndex {
    /// An index without rooms.
    pub fn new() -> Self {
        let empty = RoomSet::new_with_hasher_with_ptr_kind(RandomState::default());
        Self { rooms: ArcSwap::from_pointee(empty), watch: None, budget: Budgets::default().rooms }
    }

    /// Has the index tell of its rooms; it must have none yet.
    pub fn with_watch(self, watch: Arc<dyn RoomWatch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Has the index keep within a budget; it must have no rooms yet.
    pub fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// The room of that name, if it has members here.
    pub fn find(&self, name: &str) -> Option<Arc<Room>> {
        self.rooms.load().get(name).map(|room| room.0.clone())
    }

    /// Whether there is a room of that name.
    pub fn contains(&self, name: &str) -> bool {
        // Not by a look-up of its own: that would cost each publish an inlined call.
        self.find(name).is_some()
    }

    /// Members of a room, and joins on their way to it; without taking a reference.
    pub fn members(&self, name: &str) -> usize {
        self.rooms.load().get(name).map_or(0, |room| room.0.members())
    }

    /// All rooms as they are now. What comes and goes later does not change the snapshot.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.rooms.load_full())
    }

    /// Shows each room to `visit`, in no order.
    pub fn for_each(&self, mut visit: impl FnMut(&Room)) {
        self.rooms.load_full().iter().for_each(|room| visit(&room.0));
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.load().size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds or makes the room, and claims it for one member to come.
    ///
    /// # Errors
    /// There is no such room, and none can be made.
    pub fn claim(&self, name: &str) -> Result<Arc<Room>, NoMoreRooms> {
        let mut fresh = None;
        loop {
            let rooms = self.rooms.load();
            let known = rooms.get(name);
            if let Some(room) = known.filter(|room| room.0.claim()) {
                if fresh.is_some() {
                    self.count_gone(name);
                }
                return Ok(room.0.clone());
            }
            // Absent, or retired: then the shard is about to remove it, and finds ours instead.
            let fresh = match &mut fresh {
                Some(fresh) => fresh,
                none => none.insert(self.create(name)?),
            };
            let room = ByName(fresh.clone());
            // An insert would leave an equal element where it is.
            let with_fresh = match known {
                Some(_) => rooms.remove(name).insert(room),
                None => rooms.insert(room),
            };
            let seen = self.rooms.compare_and_swap(&rooms, Arc::new(with_fresh));
            if Arc::ptr_eq(&seen, &rooms) {
                return Ok(fresh.clone());
            }
        }
    }

    /// Makes a room that is not in the index yet.
    fn create(&self, name: &str) -> Result<Arc<Room>, NoMoreRooms> {
        if !self.budget.try_take(1) {
            return Err(NoMoreRooms { rooms_max: self.budget.max() });
        }
        self.notify(|watch| watch.made(name));
        Ok(Arc::new(Room::claimed(name)))
    }

    /// A room that was made is not in the index, or not any more.
    fn count_gone(&self, name: &str) {
        self.notify(|watch| watch.gone(name));
        self.budget.give_back(1);
    }

    /// Gives a claim back, and removes the room if it was the last. For the shard alone.
    pub(super) fn unclaim(&self, room: &Arc<Room>) -> bool {
        let retired = room.unclaim();
        if retired {
            self.remove(room);
            // Also where a joiner has put another in its place, of which it has told.
            self.count_gone(room.name());
        }
        retired
    }

    /// Takes all rooms out, whoever is in them. For a shard that goes, and for joiners that then find it gone.
    pub(super) fn clear(&self) {
        let empty = Arc::new(RoomSet::new_with_hasher_with_ptr_kind(RandomState::default()));
        loop {
            let rooms = self.rooms.load();
            let seen = self.rooms.compare_and_swap(&rooms, empty.clone());
            if Arc::ptr_eq(&seen, &rooms) {
                // Whoever has taken them out tells, so that each is told of once.
                return rooms.iter().for_each(|room| self.count_gone(room.0.name()));
            }
        }
    }

    fn notify(&self, event: impl FnOnce(&dyn RoomWatch)) {
        if let Some(watch) = &self.watch {
            event(&**watch);
        }
    }

    fn remove(&self, room: &Arc<Room>) {
        loop {
            let rooms = self.rooms.load();
            let is_ours = rooms.get(room.name()).is_some_and(|found| Arc::ptr_eq(&found.0, room));
            if !is_ours {
                return;
            }
            let without = Arc::new(rooms.remove(room.name()));
            let seen = self.rooms.compare_and_swap(&rooms, without);
            if Arc::ptr_eq(&seen, &rooms) {
                return;
            }
        }
    }
}

impl Default for RoomIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RoomIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomIndex").field("rooms", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    fn claim(index: &RoomIndex) -> Arc<Room> {
        index.claim("r").expect("no bound")
    }

    #[test]
    fn rooms_of_all_indexes_share_a_budget_and_a_known_room_needs_none() {
        let budget = Arc::new(Budget::new(2, 2));
        let indexes = [(); 2].map(|()| RoomIndex::new().with_budget(budget.clone()));
        let a = indexes[0].claim("a").expect("the first");
        let b = indexes[1].claim("b").expect("the second");
        assert_eq!(indexes[0].claim("b").err(), Some(NoMoreRooms { rooms_max: 2 }));
        assert!(indexes[0].claim("a").is_ok());
        assert!(indexes[1].unclaim(&b));
        assert!(indexes[0].claim("b").is_ok());
        assert_eq!((budget.used(), a.members()), (2, 2));
    }

    #[test]
    fn an_empty_room_is_gone_and_made_again() {
        let index = RoomIndex::new();
        let first = claim(&index);
        assert!(Arc::ptr_eq(&first, &claim(&index)));
        assert_eq!(index.members("r"), 2);
        assert!(!index.unclaim(&first));
        assert!(index.unclaim(&first));
        assert!(index.find("r").is_none());
        assert!(!Arc::ptr_eq(&first, &claim(&index)));
    }

    #[test]
    fn a_claim_on_a_retired_room_replaces_it_and_its_removal_spares_the_new_one() {
        let index = RoomIndex::new();
        let old = claim(&index);
        assert!(old.unclaim(), "retired, and not yet removed");
        let new = claim(&index);
        assert!(!Arc::ptr_eq(&old, &new));
        index.remove(&old);
        assert!(Arc::ptr_eq(&new, &index.find("r").expect("the new room stays")));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn rooms_are_equal_by_name_alone() {
        let [a, again, b] = ["a", "a", "b"].map(|name| ByName(Arc::new(Room::claimed(name))));
        assert!(a == again && a != b);
    }

    /// How often each room was made and not gone yet.
    #[derive(Default)]
    struct Ledger(Mutex<BTreeMap<String, u32>>);

    impl RoomWatch for Ledger {
        fn made(&self, name: &str) {
            *self.0.lock().expect("no panic").entry(name.to_owned()).or_default() += 1;
        }

        fn gone(&self, name: &str) {
            *self.0.lock().expect("no panic").get_mut(name).expect("made before") -= 1;
        }
    }

    #[test]
    fn watch_is_told_once_of_each_room_that_comes_and_goes() {
        let ledger = Arc::new(Ledger::default());
        let index = RoomIndex::new().with_watch(ledger.clone());
        let there = |name: &str| ledger.0.lock().expect("no panic").get(name).copied();
        let old = claim(&index);
        claim(&index);
        assert_eq!(there("r"), Some(1), "a second claim makes no second room");
        assert!(!index.unclaim(&old));
        assert!(old.unclaim(), "retired, and not yet removed");
        let new = claim(&index);
        assert_eq!(there("r"), Some(2), "the retired one and the one in its place");
        index.remove(&old);
        index.count_gone(old.name());
        assert_eq!(there("r"), Some(1));
        assert!(index.unclaim(&new));
        assert_eq!((there("r"), there("s")), (Some(0), None));
    }

    #[test]
    fn each_room_is_named_and_shown_once() {
        let index = RoomIndex::new();
        assert!(index.is_empty() && index.snapshot().names().next().is_none());
        let before = index.snapshot();
        for name in ["b", "a", "b"] {
            index.claim(name).expect("no bound");
        }
        assert!(before.names().next().is_none());
        let now = index.snapshot();
        let mut names: Vec<_> = now.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b"]);
        let mut shown = Vec::new();
        index.for_each(|room| shown.push((room.name().to_owned(), room.members())));
        shown.sort_unstable();
        assert_eq!(shown, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!((index.len(), index.is_empty()), (2, false));
    }

    #[test]
    fn rooms_of_a_cleared_index_are_given_back_once() {
        let ledger = Arc::new(Ledger::default());
        let budget = Arc::new(Budget::new(8, 1));
        let index = RoomIndex::new().with_watch(ledger.clone()).with_budget(budget.clone());
        let room = claim(&index);
        claim(&index);
        index.claim("other").expect("no bound");
        index.clear();
        index.clear();
        assert!(index.is_empty());
        let told: Vec<u32> = ledger.0.lock().expect("no panic").values().copied().collect();
        assert_eq!((told, budget.used()), (vec![0, 0], 0));
        assert!(!Arc::ptr_eq(&room, &claim(&index)), "it is another one from now on");
    }

    #[test]
    fn racing_joiners_and_a_leaving_shard_lose_no_claim() {
        let index = RoomIndex::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let room = claim(&index);
                        assert!(room.members() > 0);
                        index.unclaim(&room);
                    }
                });
            }
        });
        assert!(index.is_empty());
    }
}
