//! The program as it is called: its help is enough to use it, and what is wrong is said with what is
//! allowed.

use std::process::{Command, Output};

fn call(arguments: &[&str]) -> (Option<i32>, String) {
    let called = Command::new(env!("CARGO_BIN_EXE_parlance-load")).args(arguments).output();
    let Output { status, stdout, stderr } = called.expect("the program starts");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).expect("it says text"))
}

#[test]
fn the_help_names_every_scenario_and_each_has_its_own() {
    let (code, help) = call(&["--help"]);
    assert_eq!(code, Some(0));
    let scenarios = [
        "fanout", "big-room", "durable", "idle", "churn", "storm", "catch-up", "history", "mixed",
        "attack",
    ];
    for scenario in scenarios {
        assert!(help.contains(scenario), "{scenario}: {help}");
        let (code, own) = call(&[scenario, "--help"]);
        assert_eq!(code, Some(0), "{own}");
        for word in ["--url", "--check", "--html", "--processes", "--ca", "--password-file"] {
            assert!(own.contains(word), "{scenario}, {word}: {own}");
        }
    }
    assert!(help.contains("--admin") && help.contains("registration"), "{help}");
}

#[test]
fn a_run_that_cannot_take_place_ends_with_2_and_says_why() {
    for (arguments, word) in [
        (&["fanout", "--rate", "0"][..], "above 0"),
        (&["fanout", "--url", "http://127.0.0.1:1", "--seconds", "1"], "127.0.0.1:1"),
        (&["nonsense"], "fanout"),
        (&["idle", "--url", "http://127.0.0.1:1"], "--server-pid"),
        (&["fanout", "--url", "https://127.0.0.1:1", "--ca", "/no/such/file"], "/no/such/file"),
        (&["work"], "job"),
    ] {
        let (code, said) = call(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}
