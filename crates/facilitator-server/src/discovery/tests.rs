use super::*;
use crate::Callers;
use alloy_primitives::{Address, B256, U256};
use obol_core::{Authorization, Registry, TransferMethod, WireVersion};
use serde_json::json;
use std::{fs, path::Path};

fn caller() -> Caller {
    let Callers::Anybody(caller) = Callers::anybody() else { panic!("anybody is a caller") };
    caller
}

fn requirement() -> Requirement {
    let registry = Registry::built_in();
    let asset = Arc::clone(registry.assets().next().expect("there are some"));
    Requirement { asset, pay_to: Address::repeat_byte(7), amount: 10_000.into(), max_timeout_seconds: 60 }
}

fn payment(valid_before: u64) -> Payment {
    let Requirement { asset, pay_to, amount, .. } = requirement();
    Payment {
        version: WireVersion::V2,
        chain: asset.chain,
        asset: asset.address,
        method: TransferMethod::Eip3009,
        authorization: Authorization {
            from: Address::repeat_byte(1),
            to: pay_to,
            value: amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(valid_before),
            nonce: B256::ZERO,
        },
        signature: alloy_primitives::Bytes::new(),
    }
}

fn body(method: &str) -> Bytes {
    let declared = json!({
        "info": {"input": {"type": "http", "method": method}},
        "schema": {"properties": {"input": {"properties": {"method": {"enum": ["GET"]}}}}},
    });
    let payload = json!({
        "x402Version": 2, "resource": {"url": "https://shop.example/a"}, "extensions": {"bazaar": declared},
    });
    json!({"paymentPayload": payload}).to_string().into()
}

async fn list(discovery: &Discovery, body: Bytes, valid_before: u64) -> Option<ExtensionResponse> {
    discovery.list(body, &caller(), &requirement(), &payment(valid_before)).await
}

fn listed(discovery: &Discovery) -> Value {
    let page = discovery.page(&Query::parse("").expect("good"));
    serde_json::from_str(&page).expect("JSON")
}

#[tokio::test]
async fn what_was_paid_for_is_listed_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalogue.json");
    let discovery = Discovery::open(path.clone()).expect("a new one");
    assert_eq!(listed(&discovery)["pagination"], json!({"limit": 20, "offset": 0, "total": 0}));
    assert_eq!(list(&discovery, body("GET"), u64::MAX).await, Some(ExtensionResponse::Success));
    let before = listed(&discovery);
    assert_eq!(before["items"][0]["resource"], "https://shop.example/a");
    assert_eq!(before["items"][0]["accepts"][0]["amount"], "10000");
    assert_eq!(before["items"][0]["extensions"]["bazaar"]["info"]["input"]["method"], "GET");
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(discovery.keep(stopped));
    stop.send(true).expect("it runs");
    keeping.await.expect("it ends");
    assert_eq!(listed(&Discovery::open(path).expect("the same")), before);
    let files = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(files, 1, "nothing else is left");
}

#[tokio::test]
async fn what_cannot_be_written_is_written_when_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, away) = (folder.path().join("here"), folder.path().join("away"));
    fs::create_dir(&here).expect("made");
    let path = here.join("catalogue.json");
    let discovery = Discovery::open(path.clone()).expect("a new one");
    fs::rename(&here, &away).expect("moved");
    assert_eq!(list(&discovery, body("GET"), u64::MAX).await, Some(ExtensionResponse::Success));
    let mut failing = false;
    let changed = || tokio::time::timeout(PACE, discovery.shared.changed.notified());
    changed().await.expect("something was listed");
    discovery.attempt(&mut failing).await;
    assert!(failing);
    fs::rename(&away, &here).expect("moved back");
    changed().await.expect("it is to be tried again");
    discovery.attempt(&mut failing).await;
    assert!(!failing && fs::read_to_string(&path).expect("there").contains("shop.example"));
}

#[tokio::test]
async fn a_link_stays_one_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (real, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
    drop(Discovery::open(real.clone()).expect("a new one"));
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let discovery = Discovery::open(link.clone()).expect("the same");
    assert_eq!(list(&discovery, body("GET"), u64::MAX).await, Some(ExtensionResponse::Success));
    let (stop, stopped) = watch::channel(true);
    discovery.keep(stopped).await;
    drop(stop);
    assert!(link.is_symlink(), "a link stays one");
    assert!(fs::read_to_string(&real).expect("there").contains("shop.example"));
}

#[tokio::test]
async fn what_is_not_as_its_schema_has_it_is_rejected_with_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let discovery = Discovery::open(folder.path().join("catalogue.json")).expect("a new one");
    let answer = list(&discovery, body("PUT"), u64::MAX).await;
    assert_eq!(answer, Some(ExtensionResponse::Rejected("info is not as schema has it".to_owned())));
    assert_eq!(list(&discovery, "{}".into(), u64::MAX).await, None, "nothing was declared");
    assert_eq!(listed(&discovery)["items"], json!([]));
}

#[tokio::test]
async fn a_payment_that_is_long_over_keeps_nothing_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let discovery = Discovery::open(folder.path().join("catalogue.json")).expect("a new one");
    assert_eq!(
        list(&discovery, body("GET"), unix_now() - catalog::FRESH).await,
        Some(ExtensionResponse::Success)
    );
    assert_eq!(listed(&discovery)["items"], json!([]));
}

#[tokio::test]
async fn who_comes_while_others_are_looked_at_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let discovery = Discovery::open(folder.path().join("catalogue.json")).expect("a new one");
    let all = Arc::clone(&discovery.shared.room).acquire_many_owned(2).await.expect("room");
    let answer = list(&discovery, body("GET"), u64::MAX).await;
    assert!(matches!(answer, Some(ExtensionResponse::Rejected(why)) if why.contains("busy")));
    assert_eq!(list(&discovery, "{}".into(), u64::MAX).await, None);
    drop(all);
    assert_eq!(list(&discovery, body("GET"), u64::MAX).await, Some(ExtensionResponse::Success));
}

#[test]
fn a_file_that_is_no_catalogue_is_one_clear_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("catalogue.json");
    for text in ["", "{", "[]", r#"{"version":"2","entries":[]}"#, r#"{"version":"1","entries":[{}]}"#] {
        fs::write(&path, text).expect("written");
        let error = Discovery::open(path.clone()).expect_err(text).to_string();
        assert!(
            error.contains("catalogue.json is no catalogue") && error.contains("move it away"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).expect("there"), text);
    }
    let nowhere =
        Discovery::open(folder.path().join("no/catalogue.json")).expect_err("no folder").to_string();
    assert!(nowhere.contains("cannot be written"), "{nowhere}");
    let unreadable = Discovery::open(Path::new("/dev").to_owned()).expect_err("a folder").to_string();
    assert!(unreadable.contains("/dev cannot be read"), "{unreadable}");
}
