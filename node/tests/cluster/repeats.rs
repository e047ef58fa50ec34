//! Clients that repeat what they send: to several nodes at the same time.

use parlance_client::Http;

use crate::harness::scene::{SMALL, Scene};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_send_that_goes_to_three_nodes_at_once_is_there_once_and_has_one_answer() {
    let Some(mut scene) = Scene::open(SMALL, 0x5EED_0160).await else { return };
    let places: Vec<Http> = scene.fleet.nodes.iter().map(|node| node.http()).collect();
    for (number, (room, members)) in scene.town.rooms.iter().zip(&scene.town.members).enumerate() {
        // Somebody who does not write there already.
        let who = &scene.town.people[members[(number + 2) % members.len()]];
        let places = places.clone();
        scene.talk.write(who, *room, |writer| writer.over_http(places));
    }
    scene.talk.goes_on(300).await;
    // The three find different owners, or none.
    let place = scene.any_node();
    scene.kill9(place).await;
    scene.for_seconds(6).await;
    scene.fleet.start().await;
    scene.talk.goes_on(300).await;
    scene.end().await;
}
