//! Several applications on one bus: no application receives messages of another, whatever names their channels have.

use roomcast::{Hub, Local, Target};

use support::claims::{Member, is_up};
use support::eventually;

const END: u32 = u32::MAX;

async fn tenant(bus: &Local, name: &str, channels: u16) -> Member {
    let hub = Hub::builder().backplane(bus.clone(), name).channels(channels).build().unwrap();
    let member = Member::of(hub).await;
    eventually("it is up", || is_up(member.hub())).await;
    member
}

#[tokio::test]
async fn hubs_whose_names_resemble_each_other_stay_apart() {
    let bus = Local::new();
    let spread = tenant(&bus, "chat", 8).await;
    let names = ["chat:0", "chat:1", "chat:2", "chat:all", "roomcast:chat", "chat%3A2", "", ":"];
    let mut others = Vec::new();
    for name in names {
        others.push(tenant(&bus, name, 2).await);
    }
    for room in 0..100 {
        spread.hub().try_to_room(&room.to_string(), &room).unwrap();
    }
    spread.hub().try_broadcast(&1).unwrap();
    let rooms: Vec<String> = (0..100).map(|room| room.to_string()).collect();
    spread.hub().try_publish(&Target::rooms(rooms), &2).unwrap();
    let sent = || spread.hub().backplane_health().unwrap().published == 102;
    eventually("all of it has left", sent).await;
    for other in &mut others {
        other.hub().try_broadcast(&END).unwrap();
        assert!(other.until(END).await.is_empty());
        assert_eq!(other.hub().cluster().nodes().len(), 1);
        let health = other.hub().backplane_health().unwrap();
        assert_eq!((health.received, health.garbage, health.unknown_version), (0, 0, 0));
    }
}
