//! A folder that changes while it is watched.

mod common;

use common::{
    faults,
    shop::{Shop, offer, prices, until, until_sold},
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

#[tokio::test]
async fn the_first_load_is_done_when_the_watch_begins() {
    let shop = Shop::new();
    shop.write("b.yaml", &offer("b", "0.02"));
    shop.write("a.yml", &format!("{}---\n{}", offer("z", "0.01"), offer("a", "0.01")));
    shop.write("c.json", "{\"apiVersion\": \"v1\"}");
    for passed_over in [".hidden.yaml", "README.md", "d.yaml.bak", "token"] {
        shop.write(passed_over, "no manifest");
    }
    fs::create_dir(shop.file("sub.yaml")).expect("a folder");
    let loaded = shop.watch().loaded();
    assert_eq!(prices(&loaded), ["z 0.01", "a 0.01", "b 0.02"]);
    let file = shop.file("c.json").display().to_string();
    assert_eq!(
        faults(&loaded),
        [format!("{file}:1: apiVersion: \"v1\" is not read here; write obol.org/v1alpha1")]
    );
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_at_the_start_is_an_error() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "1"));
    for path in [shop.beside("nothing"), shop.file("a.yaml")] {
        let registry = std::sync::Arc::new(common::registry());
        assert!(common::shop::sources(&path, registry).watch().is_err(), "{path:?}");
    }
}

#[tokio::test]
async fn files_that_come_change_and_go_are_followed() {
    let shop = Shop::new();
    let mut watch = shop.watch();
    assert_eq!(watch.loaded().offers.len(), 0);
    shop.write("a.yaml", &offer("a", "0.01"));
    until_sold(&mut watch, &["a 0.01"]).await;
    shop.write("b.yaml", &offer("b", "0.01"));
    until_sold(&mut watch, &["a 0.01", "b 0.01"]).await;
    shop.write("a.yaml", &offer("a", "0.02"));
    until_sold(&mut watch, &["a 0.02", "b 0.01"]).await;
    shop.remove("a.yaml");
    until_sold(&mut watch, &["b 0.01"]).await;
    shop.remove("b.yaml");
    until_sold(&mut watch, &[]).await;
}

#[tokio::test]
async fn a_change_is_told_by_the_kernel_long_before_the_poll() {
    let shop = Shop::new();
    let mut watch = shop.watch();
    let begun = Instant::now();
    for price in 1..=10 {
        shop.write("a.yaml", &offer("a", &price.to_string()));
        until_sold(&mut watch, &[&format!("a {price}")]).await;
    }
    // The poll alone would need two seconds for each.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_file_renamed_over_another_replaces_it_without_a_gap() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    let mut watch = shop.watch();
    for price in ["0.02", "0.03", "0.04"] {
        shop.write(".a.yaml.swp", &offer("a", price));
        fs::rename(shop.file(".a.yaml.swp"), shop.file("a.yaml")).expect("renamed");
        let sold = format!("a {price}");
        let loaded = until(&mut watch, &sold, |loaded| {
            assert_eq!((loaded.offers.len(), loaded.faults.len()), (1, 0), "{loaded:?}");
            prices(loaded) == [sold.as_str()]
        });
        loaded.await;
    }
}

#[tokio::test]
async fn a_bad_document_file_or_offer_changes_nothing_for_the_others() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    shop.write("b.yaml", "spec: [");
    shop.write("c.yaml", &format!("{}---\n{}---\nspec: [\n", offer("c1", "0.01"), offer("c2", "free")));
    fs::write(shop.file("d.yaml"), b"\xff\xfe").expect("written");
    symlink(shop.beside("nowhere"), shop.file("e.yaml")).expect("a link");
    shop.write("f.yaml", &"# padding\n".repeat(120_000));
    let mut watch = shop.watch();
    let loaded = watch.loaded();
    assert_eq!(prices(&loaded), ["a 0.01", "c1 0.01"]);
    let told = faults(&loaded);
    let starts = [
        ("b.yaml", ":1: this is not valid YAML or JSON"),
        ("c.yaml", ":19: spec.payment.price.perRequest: \"free\" is not a plain decimal number"),
        ("c.yaml", ":21: this is not valid"),
        ("d.yaml", ": is not UTF-8 text"),
        ("e.yaml", ": cannot be read: No such file"),
        ("f.yaml", ": is larger than 1048576 bytes"),
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, (name, says)) in told.iter().zip(starts) {
        assert!(told.starts_with(&format!("{}{says}", shop.file(name).display())), "{told}");
    }
    shop.write("a.yaml", &offer("a", "0.02"));
    let loaded = until(&mut watch, "a's new price", |loaded| prices(loaded) == ["a 0.02", "c1 0.01"]).await;
    assert_eq!(faults(&loaded), told);
}

#[tokio::test]
async fn a_named_pipe_holds_nothing_up() {
    let shop = Shop::new();
    shop.write("b.yaml", &offer("b", "0.01"));
    let made = std::process::Command::new("mkfifo").arg(shop.file("a.yaml")).status().expect("mkfifo");
    assert!(made.success());
    let loaded = shop.watch().loaded();
    assert_eq!((prices(&loaded), loaded.faults.len()), (vec!["b 0.01".to_owned()], 1));
    assert!(faults(&loaded)[0].ends_with("a.yaml: is not a regular file"), "{loaded:?}");
}

#[tokio::test]
async fn a_file_that_was_good_sells_on_what_it_gave_last_and_says_so() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    shop.write("b.yaml", &offer("b", "0.01"));
    let mut watch = shop.watch();
    let half = offer("a", "0.02");
    for bad in [&half[..half.len() - 8], "spec: [", "", "# nothing\n", "apiVersion: v1", &offer("a", "-1")] {
        shop.write("a.yaml", bad);
        let loaded = until(&mut watch, bad, |loaded| !loaded.faults.is_empty()).await;
        assert_eq!(prices(&loaded), ["a 0.01", "b 0.01"], "{bad:?}");
        let told = faults(&loaded);
        assert!(
            told[0].contains("a.yaml") && told[0].ends_with("; default/a is sold on as it was read last"),
            "{told:?}"
        );
        shop.write("a.yaml", &offer("a", "0.01"));
        until_sold(&mut watch, &["a 0.01", "b 0.01"]).await;
    }
    shop.write("a.yaml", "spec: [");
    until(&mut watch, "the fault", |loaded| loaded.faults.len() == 1).await;
    shop.write("a.yaml", &half);
    until_sold(&mut watch, &["a 0.02", "b 0.01"]).await;
}

#[tokio::test]
async fn what_was_kept_ends_with_its_file() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    let mut watch = shop.watch();
    shop.write("a.yaml", "spec: [");
    until(&mut watch, "the fault", |loaded| loaded.faults.len() == 1 && loaded.offers.len() == 1).await;
    shop.remove("a.yaml");
    until_sold(&mut watch, &[]).await;
}

#[tokio::test]
async fn of_several_documents_only_the_bad_one_is_kept_as_it_was() {
    let shop = Shop::new();
    let three = |a: &str, b: &str, c: &str| format!("{a}---\n{b}---\n{c}");
    let (a, b, c) = (offer("a", "0.01"), offer("b", "0.01"), offer("c", "0.01"));
    shop.write("x.yaml", &three(&a, &b, &c));
    let mut watch = shop.watch();

    shop.write("x.yaml", &three(&offer("a", "0.02"), &offer("b", "0"), &c));
    let loaded = until(&mut watch, "a's new price", |loaded| prices(loaded)[0] == "a 0.02").await;
    assert_eq!(prices(&loaded), ["a 0.02", "b 0.01", "c 0.01"]);
    assert!(
        faults(&loaded)[0]
            .ends_with("is zero; an offer has a price; default/b is sold on as it was read last"),
        "{loaded:?}"
    );

    // c is gone for good: the document that is no good has said that it is b.
    shop.write("x.yaml", &format!("{a}---\n{}", offer("b", "0")));
    until(&mut watch, "c's end", |loaded| prices(loaded) == ["a 0.01", "b 0.01"]).await;

    // Whose the second document is cannot be read: it may be b.
    shop.write("x.yaml", &format!("{}---\nspec: [\n", offer("a", "0.03")));
    let loaded = until(&mut watch, "a's new price", |loaded| prices(loaded)[0] == "a 0.03").await;
    assert_eq!((prices(&loaded)[1].as_str(), loaded.faults.len()), ("b 0.01", 1));

    shop.write("x.yaml", &offer("a", "0.03"));
    until_sold(&mut watch, &["a 0.03"]).await;
}

#[tokio::test]
async fn a_name_belongs_to_the_first_file_until_that_goes() {
    let shop = Shop::new();
    shop.write("b.yaml", &offer("x", "0.02"));
    let mut watch = shop.watch();
    shop.write("a.yaml", &offer("x", "0.01"));
    let loaded = until(&mut watch, "the first file's", |loaded| prices(loaded) == ["x 0.01"]).await;
    let (a, b) = (shop.file("a.yaml").display().to_string(), shop.file("b.yaml").display().to_string());
    assert_eq!(
        faults(&loaded),
        [format!(
            "{b}:3: metadata.name: default/x is sold by {a}:3 already; give one of them another name or namespace"
        )]
    );
    shop.remove("a.yaml");
    until_sold(&mut watch, &["x 0.02"]).await;
}

#[tokio::test]
async fn a_config_map_is_followed_through_the_swap_of_its_links() {
    let shop = Shop::new();
    let publish = |version: &str, price: &str| {
        fs::create_dir(shop.file(version)).expect("a version");
        fs::write(shop.file(version).join("a.yaml"), offer("a", price)).expect("written");
        symlink(version, shop.file("..data_tmp")).expect("a link");
        fs::rename(shop.file("..data_tmp"), shop.file("..data")).expect("swapped");
    };
    publish("..2026_01", "0.01");
    symlink("..data/a.yaml", shop.file("a.yaml")).expect("a link");
    let mut watch = shop.watch();
    assert_eq!(prices(&watch.loaded()), ["a 0.01"]);
    for (version, before, price) in [("..2026_02", "..2026_01", "0.02"), ("..2026_03", "..2026_02", "0.03")] {
        publish(version, price);
        until_sold(&mut watch, &[&format!("a {price}")]).await;
        fs::remove_dir_all(shop.file(before)).expect("removed");
    }
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_followed() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    let mut watch = shop.watch();
    fs::rename(shop.offers(), shop.beside("old")).expect("renamed");
    let loaded = until(&mut watch, "the fault", |loaded| !loaded.faults.is_empty()).await;
    assert_eq!(prices(&loaded), ["a 0.01"]);
    let told = faults(&loaded);
    let folder = shop.offers().display().to_string();
    assert!(told[0].starts_with(&format!("{folder}: the folder cannot be listed (No such file")), "{told:?}");
    assert!(told[0].ends_with("what was loaded is sold on"), "{told:?}");

    fs::create_dir(shop.offers()).expect("a new folder");
    shop.write("b.yaml", &offer("b", "0.01"));
    until_sold(&mut watch, &["b 0.01"]).await;
    shop.write("b.yaml", &offer("b", "0.02"));
    until_sold(&mut watch, &["b 0.02"]).await;
}

#[tokio::test]
async fn a_credential_that_changes_elsewhere_is_found_by_the_poll() {
    let shop = Shop::new();
    let token = shop.beside("token");
    let sold = |text: &str, token: &Path| {
        let line = format!("authorizationFile: {}, url:", token.display());
        offer("a", "0.01").replace("url:", text).replace("URL:", &line)
    };
    shop.write("a.yaml", &sold("URL:", &token));
    let mut watch = shop.watch();
    assert_eq!((watch.loaded().offers.len(), watch.loaded().faults.len()), (0, 1));
    for credential in ["Bearer one", "Bearer two", "Basic three"] {
        fs::write(&token, credential).expect("written");
        until(&mut watch, credential, |loaded| {
            loaded.offers.iter().any(|offer| offer.upstream.authorization.as_deref() == Some(credential))
        })
        .await;
    }
    fs::remove_file(&token).expect("removed");
    let loaded = until(&mut watch, "the fault", |loaded| !loaded.faults.is_empty()).await;
    assert_eq!(loaded.offers[0].upstream.authorization.as_deref(), Some("Basic three"));
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_told() {
    let shop = Shop::new();
    shop.write("a.yaml", &offer("a", "0.01"));
    shop.write("b.yaml", "spec: [");
    let mut watch = shop.watch();
    shop.write("a.yaml", &format!("# a comment at the end of nothing\n{}", offer("a", "0.010")));
    shop.write("b.yaml", "spec: [");
    shop.write("README.md", "text");
    // Longer than changes are gathered, and than the poll waits.
    let told = tokio::time::timeout(Duration::from_millis(3_000), watch.changed()).await;
    assert!(told.is_err(), "{:?}", watch.loaded());
    shop.write("a.yaml", &offer("a", "0.02"));
    watch.changed().await.expect("a watch that lives");
    assert_eq!(prices(&watch.loaded()), ["a 0.02"]);
}
