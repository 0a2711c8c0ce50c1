//! The folder of offers and the file of static routes, as they are sold together and as they change.

mod common;

use common::{
    limits, registry,
    shop::{Shop, offer, until},
};
use obol_api::{Loaded, Sources, Watch};
use obol_core::Routes;
use std::{fs, sync::Arc};

const HEAD: &str = "wallet: '0x2222222222222222222222222222222222222222'\nchain: base-sepolia\n";

fn route(pattern: &str, name: &str, price: &str) -> String {
    format!(
        "  - {{pattern: {pattern}, offerName: {name}, price: '{price}', upstreamURL: 'http://127.0.0.1:9000'}}\n"
    )
}

fn file(routes: &[String]) -> String {
    format!("{HEAD}routes:\n{}", routes.concat())
}

struct Both(Shop);

impl Both {
    fn new(routes: &[String]) -> Self {
        let both = Self(Shop::new());
        both.price(&file(routes));
        both
    }

    fn price(&self, text: &str) {
        fs::write(self.0.beside("pricing.yaml"), text).expect("written");
    }

    fn sources(&self) -> Sources {
        Sources {
            offers: self.0.offers(),
            pricing: Some(self.0.beside("pricing.yaml")),
            registry: Arc::new(registry()),
            limits: limits(),
        }
    }

    fn watch(&self) -> Watch {
        self.sources().watch().expect("a folder")
    }
}

/// `name price`, in the order of precedence.
fn sold(loaded: &Loaded) -> Vec<String> {
    let price =
        |offer: &obol_core::Offer| offer.accepts[0].amount.to_decimal(offer.accepts[0].asset.decimals);
    loaded.offers.iter().map(|offer| format!("{} {}", offer.id, price(offer))).collect()
}

#[test]
fn offers_come_before_static_routes_and_an_earlier_route_before_a_later_one() {
    let both = Both::new(&[
        route("/services/hello/*", "taken", "0.02"),
        route("/services/hello", "too", "0.02"),
        route("/services/hello/deep", "deep", "0.03"),
        route("/a/*", "first", "0.04"),
        route("/A/*", "second", "0.05"),
        route("/b/*", "first", "0.06"),
        "  - {pattern: /c/*, offerNamespace: default, offerName: hello, price: '0.07'}\n".to_owned(),
    ]);
    both.0.write("hello.yaml", &offer("hello", "0.01"));
    let loaded = both.watch().loaded();
    assert_eq!(
        sold(&loaded),
        [
            "default/hello 0.01",
            "pricing/taken 0.02",
            "pricing/too 0.02",
            "pricing/deep 0.03",
            "pricing/first 0.04",
            "pricing/second 0.05"
        ]
    );
    let faults: Vec<_> = loaded.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults[0].contains("pricing.yaml:9: offerName: pricing/first is sold by "), "{faults:#?}");
    assert!(faults[1].contains("pricing.yaml:10: offerName: default/hello is sold by "), "{faults:#?}");
    let (_, conflicts) = Routes::compile(loaded.offers.iter().cloned());
    let told: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
    let begins = [
        "pricing/taken is not served: default/hello is sold at /services/hello already",
        "pricing/too is not served: default/hello is sold at /services/hello already",
        "pricing/second is not served: pricing/first is sold at /A already",
    ];
    assert_eq!(told.len(), begins.len(), "{told:#?}");
    assert!(told.iter().zip(begins).all(|(told, begins)| told.starts_with(begins)), "{told:#?}");
}

#[tokio::test]
async fn a_file_that_changes_is_read_at_once_and_a_bad_one_is_sold_on_as_it_was() {
    let both = Both::new(&[route("/a/*", "a", "0.01"), route("/b/*", "b", "0.01")]);
    let mut watch = both.watch();
    assert_eq!(sold(&watch.loaded()), ["pricing/a 0.01", "pricing/b 0.01"]);

    both.price(&file(&[route("/a/*", "a", "0.02"), route("/b/*", "b", "0.01")]));
    let is = |prices: &'static [&'static str]| move |loaded: &Loaded| sold(loaded) == prices;
    until(&mut watch, "the new price", is(&["pricing/a 0.02", "pricing/b 0.01"])).await;

    // One bad route: it goes on as it was, and the other changes.
    both.price(&file(&[route("/a/*", "a", "free"), route("/b/*", "b", "0.03")]));
    let loaded = until(&mut watch, "the other's price", is(&["pricing/a 0.02", "pricing/b 0.03"])).await;
    let fault = loaded.faults[0].to_string();
    assert!(
        fault.contains("routes[0].price") && fault.ends_with("pricing/a is sold on as it was read last"),
        "{fault}"
    );

    for bad in ["routes: [", "", "wallet: x\n", "routes: {}\n"] {
        both.price(bad);
        let loaded = until(&mut watch, bad, |loaded| {
            sold(loaded) == ["pricing/a 0.02", "pricing/b 0.03"]
                && loaded.faults.len() == 1
                && loaded.faults[0]
                    .message
                    .contains("pricing/a and 1 more are sold on as they were read last")
        });
        loaded.await;
        both.price(&file(&[route("/a/*", "a", "0.02"), route("/b/*", "b", "0.03")]));
        until(&mut watch, "mended", |loaded| loaded.faults.is_empty()).await;
    }

    fs::remove_file(both.0.beside("pricing.yaml")).expect("removed");
    let loaded = until(&mut watch, "the fault", |loaded| !loaded.faults.is_empty()).await;
    assert_eq!(sold(&loaded), ["pricing/a 0.02", "pricing/b 0.03"]);

    // A route that is taken out ends, and so do all of them.
    both.price(&file(&[route("/b/*", "b", "0.03")]));
    until(&mut watch, "one route", is(&["pricing/b 0.03"])).await;
    both.price(&format!("{HEAD}routes: []\n"));
    until(&mut watch, "no route", |loaded| loaded.offers.is_empty() && loaded.faults.is_empty()).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_for_the_folder() {
    let both = Both::new(&[route("/a/*", "a", "0.01")]);
    both.0.write("hello.yaml", &offer("hello", "0.01"));
    let mut watch = both.watch();
    both.price("routes: [");
    until(&mut watch, "the fault", |loaded| loaded.faults.len() == 1).await;
    both.0.write("hello.yaml", &offer("hello", "0.02"));
    let is = |loaded: &Loaded| sold(loaded) == ["default/hello 0.02", "pricing/a 0.01"];
    until(&mut watch, "the new price", is).await;
}
