//! A database that fails over to its standby under a cluster. Nothing acknowledged is lost where the
//! primary waited for the standby; where it did not, everybody is told that history was lost.

use std::time::Instant;

use parlance_storage::testkit::Replication;

use crate::harness::databases::url;
use crate::harness::fleet::Fleet;
use crate::harness::scene::{SMALL, Scene};
use crate::town::Chance;

/// Ends the lanes and reads that reach a server, so that each looks for the primary anew.
const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'parlance/%'";

async fn with_standby(how: Replication, seed: u64) -> Option<Scene> {
    let chance = Chance::seeded(seed);
    let mut fleet = Fleet::lay_out_with_standby(SMALL.nodes, how).await?;
    println!(
        "the database is {}",
        url(&[fleet.database_host.address, fleet.second().host.address])
    );
    fleet.start().await;
    Some(Scene::with(fleet, SMALL, chance).await)
}

impl Scene {
    /// From now on it is measured how long no room at all accepts.
    async fn everything_is_lost(&mut self) {
        for place in 0..self.fleet.nodes.len() {
            self.remember_loss(place).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_killed_primary_is_followed_by_its_synchronous_standby() {
    let Some(mut scene) = with_standby(Replication::Synchronous, 0x5EED_0180).await else { return };
    for round in 0..2 {
        if round > 0 {
            scene.fleet.get_a_new_standby(Replication::Synchronous).await;
            scene.talk.goes_on(100).await;
        }
        tokio::time::sleep(scene.chance.millis_below(500)).await;
        scene.everything_is_lost().await;
        scene.fleet.database.kill9().await;
        tokio::time::sleep(scene.chance.millis_below(3_000)).await;
        scene.fleet.fail_over().await;
        scene.talk.goes_on(100).await;
        // It comes back where it was, on its old timeline, and must not be believed.
        scene.fleet.second().server.start_again().await;
        operator(&scene.fleet, END_ALL).await;
        scene.talk.goes_on(100).await;
    }
    scene.end_with_resets().await;
}

/// The former primary lives on. Nothing that is sent to it can be acknowledged, because it waits for
/// a standby that is none any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn a_primary_that_is_cut_off_and_lives_on_acknowledges_nothing() {
    let Some(mut scene) = with_standby(Replication::Synchronous, 0x5EED_0181).await else { return };
    // The nodes still reach it.
    let former = scene.fleet.database_host.clone();
    former.cut(&scene.fleet.second().host);
    fail_over_to_the_far_side(&mut scene).await;
    operator(&scene.fleet, END_ALL).await;
    scene.talk.goes_on(100).await;
    scene.fleet.network.heal();
    scene.fleet.get_a_new_standby(Replication::Synchronous).await;
    scene.talk.goes_on(100).await;
    // Nobody reaches it.
    let former = scene.fleet.database_host.clone();
    former.cut(&scene.fleet.second().host);
    scene.fleet.nodes.iter().for_each(|node| former.cut(&node.host));
    fail_over_to_the_far_side(&mut scene).await;
    // And now everybody does again.
    scene.fleet.network.heal();
    operator(&scene.fleet, END_ALL).await;
    scene.talk.goes_on(100).await;
    scene.end_with_resets().await;
}

async fn fail_over_to_the_far_side(scene: &mut Scene) {
    scene.everything_is_lost().await;
    tokio::time::sleep(scene.chance.millis_below(3_000)).await;
    println!("the standby is promoted after {} acks", scene.talk.acked());
    scene.fleet.fail_over().await;
    scene.talk.goes_on(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn everybody_is_told_when_a_standby_lacks_what_was_acknowledged() {
    let Some(mut scene) = with_standby(Replication::Asynchronous, 0x5EED_0182).await else {
        return;
    };
    let former = scene.fleet.database_host.clone();
    former.cut(&scene.fleet.second().host);
    // The standby hears nothing of these.
    scene.talk.goes_on(200).await;
    scene.everything_is_lost().await;
    scene.fleet.database.kill9().await;
    tokio::time::sleep(scene.chance.millis_below(2_000)).await;
    scene.fleet.fail_over().await;
    let failed_over = Instant::now();
    println!("the standby is the primary after {} acks", scene.talk.acked());
    scene.talk.goes_on(200).await;
    // What was the primary would take writes; the one that followed it counts.
    scene.fleet.second().server.start_again().await;
    operator(&scene.fleet, END_ALL).await;
    scene.talk.goes_on(100).await;
    scene.end_after_loss(failed_over).await;
}

/// Says something to the primary.
async fn operator(fleet: &Fleet, sql: &'static str) {
    let mut connection = fleet.database.operator().await;
    sqlx::raw_sql(sql).execute(&mut connection).await.expect(sql);
}
