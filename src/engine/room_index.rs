//! The rooms of a shard, which any thread may look up: an `ArcSwap` snapshot of a persistent set.
//!
//! The *set* of rooms is shared and changes rarely; each change copies one path of the tree, O(log
//! rooms). The *members* of a room change often and belong to the shard alone.
//!
//! Lookups are wait-free. Claims and removals retry while another thread swaps the snapshot.
//!
//! # Invariants
//!
//! 1. A joiner claims the room before its join enters the inbox of the shard
//!    ([`RoomIndex::claim`]). So a publish by any thread that knows of the join finds the room.
//! 2. The claim count of a room is the number of its members and of the joins on their way to it.
//!    An action that joins holds one claim more until it is finished. Only the shard takes claims
//!    back ([`RoomIndex::unclaim`]).
//! 3. The shard retires a room by moving the claim count from 0 to `RETIRED`. A claim on a retired
//!    room fails. So either a joiner gets its claim first and the room stays, or the shard retires
//!    the room first and the joiner puts a new room in its place.
//! 4. A retired room can be found until the shard removes it or a joiner replaces it; publishes to
//!    it reach nobody. The shard removes the very room that it retired, never the new one of the
//!    same name.
//! 5. Each room is counted as created before it can be found, and counted as gone once, in the
//!    budget and for the [`RoomWatch`]. One of three threads counts it as gone: the shard that
//!    retired it, the joiner that found another room in the place of its own, or the thread that
//!    cleared the index.
//!
//! A model checks the race of joiners with the shard (`tests/models/loom/room_index.rs`).

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use rpds::HashTrieSetSync;

use super::budget::{Budget, Budgets};
use super::room::Room;
use super::sync::ArcSwap;

/// A room as an element of the set: compared and hashed by its name.
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

/// An observer that is notified when rooms are created and gone, such as a backplane that
/// subscribes for them.
///
/// For each room, `made` is called once and `gone` once. Calls from several threads, and from
/// several shards with a room of the same name, may come in any order: an implementation must count
/// them.
pub trait RoomWatch: Send + Sync {
    /// A room is about to be created. This call ends before anybody can find the room in the index.
    fn made(&self, name: &str);

    /// A room is no longer in the index, or was never put there.
    fn gone(&self, name: &str);
}

/// The set of the rooms of a shard that have members, or joins on their way.
pub struct RoomIndex {
    rooms: ArcSwap<RoomSet>,
    watch: Option<Arc<dyn RoomWatch>>,
    /// Counts the rooms that were created and are not gone, for all indexes that share the budget
    /// (invariant 5).
    budget: Arc<Budget>,
}

/// The rooms of an index at one moment.
pub struct Snapshot(Arc<RoomSet>);

impl Snapshot {
    /// The names of the rooms, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|room| room.0.name())
    }
}

/// A room was not created because the hub has the maximum number of rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMoreRooms {
    /// The maximum number of rooms.
    pub rooms_max: usize,
}

impl RoomIndex {
    /// An index without rooms.
    pub fn new() -> Self {
        let empty = RoomSet::new_with_hasher_with_ptr_kind(RandomState::default());
        Self { rooms: ArcSwap::from_pointee(empty), watch: None, budget: Budgets::default().rooms }
    }

    /// Sets the observer. The index must not have rooms yet.
    pub fn with_watch(self, watch: Arc<dyn RoomWatch>) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// Sets the budget for the number of rooms. The index must not have rooms yet.
    pub fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget, ..self }
    }

    /// Returns the room of that name, if it is in the index. Wait-free.
    pub fn find(&self, name: &str) -> Option<Arc<Room>> {
        self.rooms.load().get(name).map(|room| room.0.clone())
    }

    /// Whether a room of that name is in the index.
    pub fn contains(&self, name: &str) -> bool {
        // `find` instead of a lookup of its own, which would add an inlined call to each publish.
        self.find(name).is_some()
    }

    /// The number of members of a room, with the joins on their way and without the leaves on their
    /// way. Takes no reference to the room.
    pub fn members(&self, name: &str) -> usize {
        self.rooms.load().get(name).map_or(0, |room| room.0.members())
    }

    /// All rooms at this moment. Later changes do not show in the snapshot.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.rooms.load_full())
    }

    /// Calls `visit` with each room, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&Room)) {
        self.rooms.load_full().iter().for_each(|room| visit(&room.0));
    }

    /// The number of rooms.
    pub fn len(&self) -> usize {
        self.rooms.load().size()
    }

    /// Whether the index has no rooms.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the room of that name with one claim more, for a member to come. Creates the room if
    /// need be.
    ///
    /// # Errors
    /// The index has no such room, and the hub has the maximum number of rooms.
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
            // Invariant 3: the room is absent or retired. If retired, the shard is about to remove
            // it, and finds ours instead.
            let fresh = match &mut fresh {
                Some(fresh) => fresh,
                none => none.insert(self.create(name)?),
            };
            let room = ByName(fresh.clone());
            // An insert alone would leave an equal element in place.
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

    /// Creates a room with one claim. The caller puts it into the index, or counts it as gone.
    fn create(&self, name: &str) -> Result<Arc<Room>, NoMoreRooms> {
        if !self.budget.try_take(1) {
            return Err(NoMoreRooms { rooms_max: self.budget.max() });
        }
        self.notify(|watch| watch.made(name));
        Ok(Arc::new(Room::claimed(name)))
    }

    /// Counts a room as gone: it is no longer in the index, or was never put there.
    fn count_gone(&self, name: &str) {
        self.notify(|watch| watch.gone(name));
        self.budget.give_back(1);
    }

    /// Takes a claim back; if it was the last, removes the room and returns `true`. Only the shard
    /// calls this.
    pub(super) fn unclaim(&self, room: &Arc<Room>) -> bool {
        let retired = room.unclaim();
        if retired {
            self.remove(room);
            // Also if a joiner has put a new room in its place: that one was counted when it was
            // created.
            self.count_gone(room.name());
        }
        retired
    }

    /// Takes all rooms out, even those with members. For a shard that shuts down, and for joiners
    /// that find it gone.
    pub(super) fn clear(&self) {
        let empty = Arc::new(RoomSet::new_with_hasher_with_ptr_kind(RandomState::default()));
        loop {
            let rooms = self.rooms.load();
            let seen = self.rooms.compare_and_swap(&rooms, empty.clone());
            if Arc::ptr_eq(&seen, &rooms) {
                // Only the thread whose swap succeeded counts the rooms, so each is counted once
                // (invariant 5).
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
    fn rooms_of_all_indexes_share_a_budget_and_an_existing_room_needs_no_more() {
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
    fn an_empty_room_is_gone_and_can_be_created_again() {
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

    /// For each name, how many rooms were created and are not gone.
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
    fn watch_is_notified_once_of_each_room_created_and_gone() {
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
    fn each_room_is_listed_and_visited_once() {
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
    fn rooms_of_a_cleared_index_count_as_gone_once() {
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
        assert!(!Arc::ptr_eq(&room, &claim(&index)), "a new room from now on");
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
