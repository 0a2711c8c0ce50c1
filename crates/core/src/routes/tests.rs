use super::*;
use crate::{Charge, Disconnect, Upstream};
use std::{sync::Arc, time::Duration};

fn offer(name: &str, host: Option<&str>, path: &str) -> Arc<Offer> {
    Arc::new(Offer {
        id: OfferId { namespace: "test".to_owned(), name: name.to_owned() },
        description: String::new(),
        host: host.map(str::to_owned),
        path: match path.strip_suffix('!') {
            Some(alone) => Pattern::Exact(alone.to_owned()),
            None if path.contains('*') => Pattern::Glob(path.to_owned()),
            None => Pattern::Below(path.to_owned()),
        },
        upstream: Upstream {
            base: Some("http://127.0.0.1:1".to_owned()),
            strip: String::new(),
            authorization: None,
            header_timeout: Duration::from_secs(1),
        },
        accepts: vec![],
        charge: Charge::BeforeBody,
        on_disconnect: Disconnect::Release,
        paused: false,
        sunset: None,
    })
}

fn found(routes: &Routes<Arc<Offer>>, host: Option<&str>, path: &str) -> Option<String> {
    let path = RequestPath::parse(path).expect(path);
    routes.find(host, &path).map(|offer| offer.id.name.clone())
}

#[test]
fn the_deepest_offer_wins_on_segment_boundaries() {
    let (routes, conflicts) = Routes::compile([
        offer("outer", None, "/services"),
        offer("inner", None, "/services/demo"),
        offer("deep", None, "/services/demo/a/b"),
    ]);
    assert!(conflicts.is_empty());
    for (path, name) in [
        ("/services", Some("outer")),
        ("/services/", Some("outer")),
        ("/services/demo2/x", Some("outer")),
        ("/services/demo", Some("inner")),
        ("/services/demo/", Some("inner")),
        ("/services/demo/a", Some("inner")),
        ("/services/demo/a/b", Some("deep")),
        ("/services/demo/a/b/c/d/e/f", Some("deep")),
        ("/services/%64emo/a/b", Some("deep")),
        ("/service", None),
        ("/servicesx", None),
        ("/", None),
    ] {
        assert_eq!(found(&routes, None, path).as_deref(), name, "{path}");
    }
}

#[test]
fn another_case_is_another_path_and_never_the_outer_offers() {
    let (routes, _) = Routes::compile([offer("cheap", None, "/a"), offer("dear", None, "/a/premium")]);
    for path in ["/A", "/a/PREMIUM", "/a/Premium/x", "/A/premium"] {
        assert_eq!(found(&routes, None, path), None, "{path}");
    }
    assert_eq!(found(&routes, None, "/a/Other").as_deref(), Some("cheap"));
}

#[test]
fn a_spelling_that_some_servers_take_for_a_dearer_path_is_nobodys() {
    let (routes, _) = Routes::compile([offer("cheap", None, "/a"), offer("dear", None, "/a/premium")]);
    for path in [
        "/a/premium./x",
        "/a/premium%20/x",
        "/a/premium...",
        "/a/premium%3Fx",
        "/a/premium%23x",
        "/a/premium. ./",
    ]
    .map(|path| path.replace(' ', "%20"))
    {
        assert_eq!(found(&routes, None, &path), None, "{path}");
    }
    for path in ["/a/.../premium", "/a/%20/premium", "/a/%20./premium/x"] {
        assert_eq!(found(&routes, None, path), None, "{path}");
    }
    for path in ["/a/C%23", "/a/what%3F", "/a/x./premium", "/a/end.", "/a/..."] {
        assert_eq!(found(&routes, None, path).as_deref(), Some("cheap"), "{path}");
    }
    assert_eq!(found(&routes, None, "/a/premium/x.%20/").as_deref(), Some("dear"));
    assert_eq!(found(&routes, None, "/a.").as_deref(), None);
}

#[test]
fn an_offer_for_the_host_wins_over_one_for_all() {
    let (routes, _) = Routes::compile([
        offer("all", None, "/a/b"),
        offer("shop", Some("Shop.example"), "/a"),
        offer("root", Some("r.example"), "/"),
    ]);
    for (host, path, name) in [
        (Some("shop.example"), "/a/b", Some("shop")),
        (Some("SHOP.example:8080"), "/a/b", Some("shop")),
        (Some("shop.example."), "/a/b", Some("shop")),
        (Some("other.example"), "/a/b", Some("all")),
        (Some("[::1]:80"), "/a/b", Some("all")),
        (None, "/a/b", Some("all")),
        (Some("other.example"), "/a", None),
        (Some("r.example"), "/anything", Some("root")),
        (Some("r.example"), "/", Some("root")),
    ] {
        assert_eq!(found(&routes, host, path).as_deref(), name, "{host:?} {path}");
    }
}

#[test]
fn a_path_is_sold_once_and_the_second_offer_is_named() {
    let (routes, conflicts) =
        Routes::compile([offer("one", None, "/a"), offer("two", None, "/A/"), offer("three", None, "/b")]);
    assert_eq!(routes.len(), 2);
    assert_eq!(found(&routes, None, "/a").as_deref(), Some("one"));
    let text = conflicts.iter().map(ToString::to_string).collect::<String>();
    assert!(text.starts_with("test/two is not served: test/one is sold at /A/ already"), "{text}");
}

#[test]
fn a_path_of_a_thousand_segments_is_looked_up_as_deep_as_the_offers_go() {
    let (routes, _) = Routes::compile([offer("one", None, "/a")]);
    assert_eq!(found(&routes, None, &"/a".repeat(1_000)).as_deref(), Some("one"));
    assert_eq!(found(&routes, None, &"/b".repeat(1_000)), None);
}

#[test]
fn what_is_sold_alone_sells_nothing_below_it_nor_does_anybody_else() {
    let (routes, conflicts) = Routes::compile([
        offer("outer", None, "/a"),
        offer("alone", None, "/a/b!"),
        offer("deep", None, "/a/b/c"),
    ]);
    assert!(conflicts.is_empty());
    for (path, name) in [
        ("/a", Some("outer")),
        ("/a/bb", Some("outer")),
        ("/a/b", Some("alone")),
        ("/a/%62", Some("alone")),
        ("/a/b/", None),
        ("/a/b/x", None),
        ("/a/b/cc", None),
        ("/a/b/c", Some("deep")),
        ("/a/b/c/d", Some("deep")),
        ("/a/B", None),
        ("/a/B/x", None),
        ("/a/b.", None),
        ("/a/b%20", None),
        ("/a/b%3Fx", None),
        ("/a/b%23", None),
        ("/a/b./x", None),
    ] {
        assert_eq!(found(&routes, None, path).as_deref(), name, "{path}");
    }
}

#[test]
fn of_one_path_alone_and_all_below_it_the_first_has_the_path() {
    let (routes, conflicts) = Routes::compile([offer("alone", None, "/a!"), offer("below", None, "/a")]);
    assert!(conflicts.is_empty());
    for (path, name) in [("/a", Some("alone")), ("/a/", None), ("/a/x", Some("below"))] {
        assert_eq!(found(&routes, None, path).as_deref(), name, "{path}");
    }
    let (routes, conflicts) = Routes::compile([offer("below", None, "/a"), offer("alone", None, "/a!")]);
    assert_eq!(found(&routes, None, "/a").as_deref(), Some("below"));
    assert_eq!(conflicts.len(), 1);
    for second in ["/A!", "/A", "/a!"] {
        let (_, conflicts) = Routes::compile([offer("alone", None, "/a!"), offer("second", None, second)]);
        assert_eq!(conflicts.len(), 1, "{second}");
    }
}

#[test]
fn the_root_alone_keeps_no_other_path_from_being_sold() {
    let (routes, _) = Routes::compile([
        offer("root", Some("r.example"), "/!"),
        offer("all", None, "/x"),
        offer("any", None, "/y/*/z"),
    ]);
    for (path, name) in [("/", Some("root")), ("/x", Some("all")), ("/y/1/z", Some("any")), ("/z", None)] {
        assert_eq!(found(&routes, Some("r.example"), path).as_deref(), name, "{path}");
    }
    assert_eq!(found(&routes, None, "/"), None);
}

#[test]
fn a_star_is_one_whole_segment_and_a_last_one_is_more() {
    let (routes, conflicts) = Routes::compile([
        offer("chat", None, "/v1/*/chat"),
        offer("files", None, "/v1/*/files/*"),
        offer("prefix", None, "/v2"),
        offer("two", None, "/*/*"),
    ]);
    assert!(conflicts.is_empty());
    for (path, name) in [
        ("/v1/m/chat", Some("chat")),
        ("/v1/%6d/ch%61t", Some("chat")),
        ("/v1/m/files/a", Some("files")),
        ("/v1/m/files/a/b/", Some("files")),
        ("/v1/m/files", Some("two")),
        ("/v1/m/other/x", Some("two")),
        ("/v2/m/chat", Some("prefix")),
        ("/v3/x", Some("two")),
        ("/v3", None),
        ("/v3/", None),
        ("/v1/m/chat/", None),
        ("/v1/m/chat/more", None),
        ("/v1/m/CHAT", None),
        ("/V1/m/chat", None),
        ("/v1/m/chat.", None),
        ("/v1/m/chat%20/", None),
        ("/v1/m/chat%3Fx", None),
        ("/v1/.../chat", None),
        ("/v1/m./chat", Some("chat")),
    ] {
        assert_eq!(found(&routes, None, path).as_deref(), name, "{path}");
    }
}

#[test]
fn a_pattern_may_be_below_what_is_sold_alone() {
    let (routes, _) = Routes::compile([
        offer("list", None, "/models!"),
        offer("info", None, "/models/*/info"),
        offer("any", None, "/*/*"),
    ]);
    for (path, name) in [
        ("/models", Some("list")),
        ("/models/a/info", Some("info")),
        ("/models/a", None),
        ("/other/a", Some("any")),
    ] {
        assert_eq!(found(&routes, None, path).as_deref(), name, "{path}");
    }
}

#[test]
fn a_pattern_that_can_never_be_reached_is_told() {
    for (offers, says) in [
        (vec![offer("a", None, "/v1"), offer("b", None, "/v1/*/chat")], "is sold by test/a"),
        (vec![offer("b", None, "/*/chat"), offer("a", None, "/")], "is sold by test/a"),
        (vec![offer("a", None, "/v1/*/chat"), offer("b", None, "/V1/*/Chat")], "test/a is sold at"),
    ] {
        let (_, conflicts) = Routes::compile(offers);
        let told: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].starts_with("test/b is not served: "), "{told:?}");
        assert!(told[0].contains(says), "{told:?}");
    }
}

#[test]
fn patterns_of_one_shape_cost_one_look_and_too_many_shapes_are_refused() {
    let pattern = |n: usize| offer(&format!("o{n}"), None, &format!("/*{}/x", "/y".repeat(n)));
    let (routes, conflicts) = Routes::compile((0..20).map(pattern));
    assert_eq!((routes.len(), conflicts.len()), (16, 4));
    assert_eq!(conflicts[0].clash, Clash::TooManyShapes);
    let alike = |n: usize| offer(&format!("o{n}"), None, &format!("/*/{n}"));
    let (routes, conflicts) = Routes::compile((0..1_000).map(alike));
    assert_eq!((routes.len(), conflicts.len()), (1_000, 0));
    assert_eq!(found(&routes, None, "/any/617").as_deref(), Some("o617"));
}
