//! The web client in a real browser, on real nodes. Each test starts what its scenario needs, and
//! gives it to a script of `gateway/web/e2e`, which drives Chromium as people would and says what
//! is wrong. What the scripts share is there too.

mod cluster;
mod node;
mod process;
mod script;

use cluster::Cluster;
use node::Node;
use script::Script;

/// Gives one node to a script.
fn on_one_node(scenario: &str) {
    let Some(script) = Script::find(scenario) else { return };
    let node = Node::start();
    script.run(&node.stage());
}

/// Gives three nodes behind the balancer to a script.
fn on_three_nodes(scenario: &str) {
    let Some(script) = Script::find(scenario) else { return };
    let cluster = Cluster::start();
    script.run(&cluster.stage());
}

#[test]
fn two_people_talk() {
    on_one_node("two-people");
}

#[test]
fn three_nodes_carry_the_talk_of_two_through_the_balancer() {
    on_three_nodes("two-people");
}

#[test]
fn who_joins_late_sees_everything() {
    on_one_node("late-joiner");
}

#[test]
fn three_nodes_show_everything_to_who_joins_late() {
    on_three_nodes("late-joiner");
}

#[test]
fn a_public_room_is_found_and_joined_at_a_desk_and_on_a_phone() {
    on_one_node("browse");
}

#[test]
fn a_private_room_has_its_people_as_its_owner_says() {
    on_one_node("members");
}

#[test]
fn a_conversation_of_two_is_found_and_had() {
    on_one_node("direct");
}

#[test]
fn a_mention_is_found_and_followed_at_a_desk_and_on_a_phone() {
    on_one_node("mentions");
}

#[test]
fn a_page_whose_files_are_of_another_release_is_loaded_anew() {
    on_one_node("mixed-releases");
}

#[test]
fn a_line_that_breaks_in_a_burst_leaves_no_gap_and_no_repeat() {
    on_one_node("offline");
}

#[test]
fn three_nodes_lose_one_and_the_talk_goes_on() {
    on_three_nodes("node-killed");
}

#[test]
fn ten_thousand_messages_are_scrolled_with_a_few_of_them_in_the_page() {
    on_one_node("long-history");
}

#[test]
fn a_sign_in_that_runs_out_keeps_what_was_being_written() {
    on_one_node("sign-in-expires");
}

#[test]
fn the_engine_misses_nothing_of_a_real_node_whose_line_is_cut() {
    script::without_a_browser("src/sync/node.test.ts");
}

#[test]
fn somebody_looks_after_their_account() {
    on_one_node("account");
}

#[test]
fn people_are_shown_by_the_names_that_they_give_themselves() {
    on_one_node("profile");
}

#[test]
fn a_draft_is_one_in_all_tabs() {
    on_one_node("one-draft");
}

#[test]
fn what_is_written_into_a_message_outlives_others_and_scrolling() {
    on_one_node("edit-stays");
}

#[test]
fn two_tabs_of_one_person_agree() {
    on_one_node("two-tabs");
}

#[test]
fn what_waits_to_be_sent_outlives_the_page() {
    on_one_node("reload-queued");
}

#[test]
fn everything_that_a_menu_offers_is_done() {
    on_one_node("message-menu");
}

#[test]
fn a_finger_reaches_what_a_mouse_does() {
    on_one_node("touch");
}

#[test]
fn what_was_begun_waits_in_its_room() {
    on_one_node("begun");
}

#[test]
fn what_was_refused_is_tried_again_or_dropped() {
    on_one_node("failed-send");
}

#[test]
fn what_is_unread_is_counted_until_it_is_read() {
    on_one_node("unread");
}

#[test]
fn what_is_read_stays_where_it_is() {
    on_one_node("steady");
}

#[test]
fn what_is_in_view_moves_only_as_one_scrolls() {
    on_one_node("scrolling");
}

#[test]
fn no_page_has_barriers() {
    on_one_node("barriers");
}

#[test]
fn nothing_that_opens_has_barriers() {
    on_one_node("barriers-opened");
}

#[test]
fn no_page_elsewhere_has_barriers() {
    on_one_node("barriers-elsewhere");
}

#[test]
fn the_reference_is_tried_in_a_browser() {
    on_one_node("docs");
}

#[test]
fn everything_goes_by_the_keyboard() {
    on_one_node("keyboard");
}

#[test]
fn a_first_visit_costs_little() {
    on_one_node("first-load");
}

#[test]
fn three_nodes_obey_the_operators_page() {
    on_three_nodes("operator");
}

/// Makes the pictures of the README; into the tree only when asked:
/// `SCREENSHOTS=1 cargo nextest run -p parlance-node --test browser --run-ignored only`.
#[test]
#[ignore = "a part of make soak"]
fn the_readmes_pictures_can_be_made() {
    on_one_node("screenshots");
}

/// Prints how many frames a second the page draws, and how long they take.
#[test]
#[ignore = "a part of make soak"]
fn a_busy_room_is_drawn_whole() {
    on_one_node("frames");
}
