//! Random requests, facts and batches: the log has no hole, and everybody is answered once.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Post(u128, u128, u8, u64),
    Look(u128),
    Learn,
    Commit(usize),
    Refuse(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_u128, 0..40_u128, 0..8_u8, 1..12_u64)
            .prop_map(|(who, key, what, seq)| Step::Post(who, key, what, seq)),
        1 => (0..5_u128).prop_map(Step::Look),
        4 => Just(Step::Learn),
        3 => (1..6_usize).prop_map(Step::Commit),
        1 => any::<bool>().prop_map(Step::Refuse),
    ]
}

fn change(what: u8, seq: u64, who: u128) -> Change {
    let target = Seq(seq);
    let other = u128::from(seq % 5);
    let username = format!("user{other}").into();
    match what {
        0 | 1 => say("hello"),
        2 => Change::Edit { target, body: "edited".into(), enc: false },
        3 => Change::Delete { target },
        4 => Change::React { target, emoji: "+".into(), on: who.is_multiple_of(2) },
        5 => Change::Join,
        6 => Change::Leave,
        _ => Change::Kick { user: user(other), username },
    }
}

/// Every event's sender was allowed it by the log before it.
fn check_permissions(log: &[Event], owner: u128) {
    let mut roles = HashMap::from([(user(owner), Role::Owner)]);
    for (place, event) in log.iter().enumerate() {
        let role = roles.get(&event.sender.id).copied();
        match &event.content {
            Content::Member { user, change, .. } => {
                match change {
                    MemberChange::Joined { .. } => assert_eq!(role, None, "joined twice"),
                    MemberChange::Left => assert!(role.is_some(), "left without being in"),
                    MemberChange::Kicked => {
                        assert!(role >= Some(Role::Moderator), "kicked without the right");
                    }
                    MemberChange::Role { .. } => {}
                }
                match change.role() {
                    Some(role) => drop(roles.insert(*user, role)),
                    None => drop(roles.remove(user)),
                }
            }
            _ => assert!(role.is_some(), "{event:?} is from nobody in the room"),
        }
        assert_eq!(event.seq, Seq(place as u64 + 1));
    }
}

proptest! {
    #[test]
    fn whatever_comes_the_log_has_no_hole_and_everybody_is_answered_once(
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let mut world = World::new(RoomKind::Public, 0);
        for step in steps {
            match step {
                Step::Post(who, key, what, seq) => {
                    world.post(who, key, change(what, seq, who));
                }
                Step::Look(who) => drop(world.look(who, None)),
                Step::Learn => world.learn_one(),
                Step::Commit(count) => world.commit(count),
                Step::Refuse(refuse) => world.lane_takes = !refuse,
            }
        }
        world.lane_takes = true;
        world.settle();
        prop_assert!(world.state.is_quiet());
        prop_assert_eq!(world.stopped, None);
        prop_assert_eq!((world.answers.len() + world.looks.len()) as u64, world.waiters);
        let seqs: Vec<Seq> = world.log.iter().map(|event| event.seq).collect();
        prop_assert_eq!(&world.published, &seqs);
        check_permissions(&world.log, 0);
        for answer in world.answers.values().flatten() {
            let event = world.event(answer.seq).expect("an acknowledged event is in the log");
            prop_assert_eq!(event.sent_at, answer.sent_at);
        }
    }
}
