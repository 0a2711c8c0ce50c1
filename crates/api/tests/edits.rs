//! Pausing, draining and resuming in files that people wrote: one thing changes, and nothing else.

use obol_api::{Drain, EditError, Limits, parse, remove, set_drain, set_paused};
use obol_core::{OfferId, Registry};
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const SPEC: &str = "spec:\n  upstream: {url: http://127.0.0.1:9000}\n  payment:\n    network: base-sepolia\n    \
                    payTo: \"0x2222222222222222222222222222222222222222\"\n    price: {perRequest: \"0.01\"}\n";

fn limits() -> Limits {
    Limits { settle_and_skew: Duration::from_secs(35), payees: None }
}

fn id(name: &str) -> OfferId {
    OfferId { namespace: "default".to_owned(), name: name.to_owned() }
}

fn set(text: &str, name: &str, paused: bool) -> Result<String, EditError> {
    set_paused(text, Path::new("x.yaml"), (&id(name), paused), (&Registry::built_in(), &limits()))
}

fn is_paused(text: &str, name: &str) -> bool {
    let loaded = parse(text, Path::new("x.yaml"), &Registry::built_in(), &limits());
    assert_eq!(loaded.faults, [], "{text}");
    loaded.offers.iter().find(|offer| offer.id == id(name)).expect("the offer").paused
}

fn manifest(metadata: &str) -> String {
    format!("# by hand\napiVersion: obol.org/v1alpha1\nkind: ServiceOffer\n{metadata}{SPEC}# the end\n")
}

#[test]
fn an_offer_is_paused_and_resumed_with_one_line_changed_whatever_its_metadata_looks_like() {
    for metadata in [
        "metadata:\n  name: a\n",
        "metadata:\n    # the name\n    name: a # a\n",
        "metadata: {name: a}\n",
        "metadata: { name: a, namespace: default }  # short\n",
        "metadata:\n  name: a\n  annotations:\n",
        "metadata:\n  name: a\n  annotations: {}\n",
        "metadata:\n  name: a\n  annotations: {x: mine}\n",
        "metadata:\n  annotations:\n    # mine\n    x: mine\n  name: a\n",
        "metadata:\n  name: a\n  annotations:\n    obol.org/paused: \"false\" # open\n",
        "metadata:\n  name: a\n  annotations: {obol.org/paused: 'false', x: mine}\n",
        "metadata:\n  name: a\n  annotations:\n    \"obol.org/paused\": \"false\"\n",
    ] {
        for text in [manifest(metadata), manifest(metadata).replace('\n', "\r\n")] {
            let paused = set(&text, "a", true).unwrap_or_else(|error| panic!("{metadata}: {error}"));
            assert!(is_paused(&paused, "a") && !is_paused(&text, "a"), "{paused}");
            let unchanged = |line: &&str| paused.lines().any(|other| other == *line);
            let changed: Vec<_> = text.lines().filter(|line| !unchanged(line)).collect();
            assert!(changed.len() <= 1 && paused.lines().count() <= text.lines().count() + 1, "{paused}");
            assert_eq!(set(&paused, "a", true).as_deref(), Ok(&*paused));
            let resumed = set(&paused, "a", false).expect("resumed");
            assert!(!is_paused(&resumed, "a"), "{resumed}");
            assert_eq!(set(&text, "a", false).as_deref(), Ok(&*text));
        }
    }
}

#[test]
fn of_several_documents_only_the_one_that_is_meant_changes() {
    let text = [
        manifest("metadata: {name: a}\n"),
        manifest("metadata:\n  name: b\n"),
        manifest("metadata: {name: c}\n"),
    ]
    .join("---\n");
    let paused = set(&text, "b", true).expect("paused");
    assert_eq!(["a", "b", "c"].map(|name| is_paused(&paused, name)), [false, true, false]);
    let (first, last) = (text.find("name: b"), text.rfind("name: c"));
    let (first, last) = (first.expect("b"), last.expect("c"));
    assert!(paused.starts_with(&text[..first - 2]) && paused.ends_with(&text[last..]), "{paused}");
}

#[test]
fn json_stays_json() {
    let json = r#"{
  "apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
  "metadata": {"name": "a"},
  "spec": {"upstream": {"url": "http://127.0.0.1:9000"}, "payment": {"network": "base-sepolia",
    "payTo": "0x2222222222222222222222222222222222222222", "price": {"perRequest": "0.01"}}}
}"#;
    let paused = set(json, "a", true).expect("paused");
    assert!(is_paused(&paused, "a"), "{paused}");
    assert!(
        paused.contains(r#""metadata": {"annotations": {"obol.org/paused": "true"}, "name": "a"}"#),
        "{paused}"
    );
}

#[test]
fn what_is_not_understood_is_left_to_people() {
    assert_eq!(set(&manifest("metadata: {name: a}\n"), "b", true), Err(EditError::NotThere(id("b"))));
    assert_eq!(set("x: [", "a", true), Err(EditError::NotThere(id("a"))));
    let anchored = manifest("metadata: &m\n  name: a\n");
    match set(&anchored, "a", true) {
        Ok(paused) => assert!(is_paused(&paused, "a")),
        Err(error) => assert!(error.to_string().contains("yourself"), "{error}"),
    }
}

#[test]
fn a_document_is_taken_out_and_the_others_stay_as_they_are() {
    let parts = ["a", "b", "c"].map(|name| manifest(&format!("metadata: {{name: {name}}}\n")));
    let text = parts.join("---\n");
    let take =
        |text: &str, name| remove(text, Path::new("x.yaml"), &id(name), (&Registry::built_in(), &limits()));
    let removed = take(&text, "b").expect("removed");
    assert_eq!(removed.rest.as_deref(), Some(&*[&parts[0], "---\n", &parts[2]].concat()));
    assert_eq!(removed.document, format!("---\n{}", parts[1]));
    for name in ["a", "c"] {
        let rest = take(&text, name).expect("removed").rest.expect("two more");
        assert!(!is_paused(&rest, "b"));
    }
    for alone in [parts[0].clone(), format!("---\n{}---\n# nothing\n", parts[0])] {
        assert_eq!(take(&alone, "a").expect("removed").rest, None);
    }
    assert_eq!(take(&text, "d"), Err(EditError::NotThere(id("d"))));
}

fn drain(text: &str, drain: Option<Drain<'_>>) -> Result<String, EditError> {
    set_drain(text, Path::new("x.yaml"), (&id("a"), drain), (&Registry::built_in(), &limits()))
}

fn sunset(text: &str) -> Option<SystemTime> {
    let loaded = parse(text, Path::new("x.yaml"), &Registry::built_in(), &limits());
    assert_eq!(loaded.faults, [], "{text}");
    loaded.offers.iter().find(|offer| offer.id == id("a")).expect("the offer").sunset
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn an_offer_drains_and_is_resumed_and_everything_else_stays_whatever_its_spec_looks_like() {
    let first = Drain { at: "2026-11-26T05:00:00Z", grace: "1h", sunset: at(1_795_672_800) };
    let second = Drain { at: "2026-11-26T06:00:00Z", grace: "90s", sunset: at(1_795_672_890) };
    let block = manifest("metadata: {name: a}\n");
    let flow = "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {name: a}\nspec: {upstream: {url: \
                'http://127.0.0.1:9000'}, payment: {network: base, payTo: '0x2222222222222222222222222222222222222222', \
                price: {perRequest: '1'}}} # end\n";
    let json = "{\"apiVersion\": \"obol.org/v1alpha1\", \"kind\": \"ServiceOffer\",\n\"metadata\": {\"name\": \"a\"},\n\
                \"spec\": {\n  \"upstream\": {\"url\": \"http://127.0.0.1:9000\"}, \"payment\": {\"network\": \"base\",\n  \
                \"payTo\": \"0x2222222222222222222222222222222222222222\", \"price\": {\"perRequest\": \"1\"}}}}\n";
    let commented = block.replacen("spec:\n", "spec: # what it is\n  # where it is\n", 1);
    for text in [block.as_str(), &commented, flow, json, &block.replace('\n', "\r\n")] {
        let draining = drain(text, Some(first)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(sunset(&draining), Some(first.sunset), "{draining}");
        let again = drain(&draining, Some(second)).expect("drained anew");
        assert_eq!(sunset(&again), Some(second.sunset), "{again}");
        let resumed = drain(&again, None).unwrap_or_else(|error| panic!("{again}: {error}"));
        assert_eq!((sunset(&resumed), resumed.as_str()), (None, text));
        assert_eq!(drain(text, None).as_deref(), Ok(text));
    }
    let by_hand = block.replacen("spec:\n", "spec:\n  drainAt: 2026-01-01T00:00:00Z # soon\n", 1);
    let again = drain(&by_hand, Some(first)).expect("drained");
    assert!(again.contains("  drainAt: \"2026-11-26T05:00:00Z\" # soon\n"), "{again}");
    assert_eq!(drain(&by_hand, None).as_deref(), Ok(&*block));
    let elsewhere = block.replacen("spec:\n", "spec:\n  drainAt:\n    2026-01-01T00:00:00Z\n", 1);
    let refused = drain(&elsewhere, None).expect_err("on two lines");
    assert!(
        refused.to_string().contains("take drainAt and drainGracePeriod out of spec at line"),
        "{refused}"
    );
}
