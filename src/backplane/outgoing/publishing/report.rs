//! The report of this node, for its heartbeats.

use crate::backplane::channels::room_hash;
use crate::backplane::envelope::{REPORT_ROOMS_MAX, Report, RoomCount};
use crate::backplane::this_node::ThisNode;

/// The connections and rooms of this node.
pub(crate) fn report(here: &dyn ThisNode, spread: u16) -> Report {
    let mut rooms = Vec::new();
    here.for_each_room(&mut |name, count| {
        rooms.push(RoomCount { room_hash: room_hash(name), members: count as u32 });
    });
    let (rooms, unlisted_max) = listed(rooms);
    let connections = here.connections();
    Report { connections, spread, unlisted_max, rooms }
}

/// Returns the rooms with the most members, as many as a report has space for, sorted by hash. Also
/// returns the most members of a room that is left out. A room with members in several shards comes
/// once for each shard, and is summed.
fn listed(mut rooms: Vec<RoomCount>) -> (Box<[RoomCount]>, u32) {
    rooms.sort_unstable();
    rooms.dedup_by(|later, first| {
        let is_same = later.room_hash == first.room_hash;
        if is_same {
            first.members = first.members.saturating_add(later.members);
        }
        is_same
    });
    let mut unlisted_max = 0;
    if rooms.len() > REPORT_ROOMS_MAX {
        rooms.select_nth_unstable_by_key(REPORT_ROOMS_MAX, |room| std::cmp::Reverse(room.members));
        unlisted_max = rooms[REPORT_ROOMS_MAX].members;
        rooms.truncate(REPORT_ROOMS_MAX);
        rooms.sort_unstable();
    }
    (rooms.into(), unlisted_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room((room_hash, members): (u64, u32)) -> RoomCount {
        RoomCount { room_hash, members }
    }

    #[test]
    fn a_report_sums_the_shards_of_a_room() {
        let (rooms, unlisted_max) = listed([(7, 1), (3, 2), (7, 40)].map(room).to_vec());
        assert_eq!((&*rooms, unlisted_max), (&[(3, 2), (7, 41)].map(room)[..], 0));
    }

    #[test]
    fn a_report_that_is_full_lists_the_largest_rooms() {
        let hashes = 0..REPORT_ROOMS_MAX as u64 + 10;
        let rooms = hashes.map(|hash| room((hash, hash as u32 + 1))).collect();
        let (rooms, unlisted_max) = listed(rooms);
        assert_eq!(rooms.len(), REPORT_ROOMS_MAX);
        assert_eq!((rooms[0], unlisted_max), (room((10, 11)), 10));
    }
}
