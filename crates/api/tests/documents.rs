//! What becomes of good documents, and of several in one text.

mod common;

use common::{FILE, GOOD, amount, faults, limits, read, registry, with};
use obol_api::parse;
use obol_core::{Amount, ChainId, Charge, Disconnect, Exposure, OfferId};
use std::{fs, path::Path, time::Duration};

fn testdata(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).expect(name)
}

#[test]
fn what_a_manifest_does_not_say_has_its_default() {
    let loaded = read(&testdata("minimal.yaml"));
    assert_eq!(faults(&loaded), [""; 0]);
    let offer = &loaded.offers[0];
    assert_eq!(offer.id, OfferId { namespace: "default".to_owned(), name: "demo-hello".to_owned() });
    assert_eq!(
        (offer.path.as_str(), offer.host.as_deref(), offer.description.as_str()),
        ("/services/demo-hello", None, "")
    );
    assert_eq!(
        (offer.charge, offer.on_disconnect, offer.paused),
        (Charge::BeforeBody, Disconnect::Release, false)
    );
    assert_eq!(
        (offer.upstream.base.as_deref(), offer.upstream.authorization.as_deref()),
        (Some("http://127.0.0.1:9000"), None)
    );
    assert_eq!(offer.upstream.header_timeout, Duration::from_secs(60));
    let [way] = offer.accepts.as_slice() else { panic!("one way to pay: {:?}", offer.accepts) };
    assert_eq!((way.asset.chain, way.asset.symbol.as_str()), (ChainId::new(84532), "USDC"));
    assert_eq!((way.amount, way.max_timeout_seconds), (10_000.into(), 300));
    assert_eq!(way.pay_to, alloy_primitives::Address::repeat_byte(0x22));
}

#[test]
fn every_field_of_the_complete_example_means_what_it_says() {
    let loaded = read(&testdata("complete.yaml"));
    assert_eq!(faults(&loaded), [""; 0]);
    let offer = &loaded.offers[0];
    assert_eq!(offer.id.to_string(), "shop/weather");
    assert_eq!((offer.path.as_str(), offer.host.as_deref()), ("/weather", Some("api.shop.example")));
    assert_eq!((offer.description.as_str(), offer.paused), ("Weather by the hour", false));
    assert_eq!(offer.upstream.base.as_deref(), Some("https://weather.internal/v2"));
    assert_eq!(offer.upstream.header_timeout, Duration::from_secs(30));
    let ways: Vec<_> = offer
        .accepts
        .iter()
        .map(|way| (way.asset.chain.reference(), way.amount, way.max_timeout_seconds))
        .collect();
    assert_eq!(ways, [(8453, 10_000.into(), 600), (137, 12_000.into(), 300)]);
    let exposure = Exposure { per_payer: 1_000_000.into(), per_offer: 25_000_000.into() };
    assert_eq!((offer.charge, offer.on_disconnect), (Charge::Optimistic(exposure), Disconnect::Release));
}

#[test]
fn the_originals_manifests_load_and_kinds_that_are_not_sold_are_passed_over() {
    let loaded = read(&testdata("original.yaml"));
    assert_eq!(faults(&loaded), [""; 0]);
    let [offer] = loaded.offers.as_slice() else { panic!("one offer: {:?}", loaded.offers) };
    assert_eq!(offer.id.to_string(), "llm/qwen");
    assert_eq!(offer.upstream.base.as_deref(), Some("http://ollama.llm.svc.cluster.local:11434"));
    assert_eq!(offer.description, "A small model, by the request");
    assert_eq!(offer.accepts[0].amount, 1_000.into());
}

#[test]
fn the_example_of_the_operators_page_is_the_one_that_is_tested() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests.md");
    let page = fs::read_to_string(page).expect("docs/manifests.md");
    assert!(page.contains(&testdata("complete.yaml")), "docs/manifests.md shows another example");
    let examples: Vec<_> =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2, "{}", examples.len());
    for example in examples.into_iter().filter(|example| example.contains("apiVersion")) {
        let loaded = read(example);
        assert_eq!((faults(&loaded), loaded.offers.len()), (vec![], 1), "{example}");
    }
}

#[test]
fn a_price_keeps_every_digit_whether_it_is_quoted_or_not() {
    let atomic = |text: &str| Amount::parse_atomic(text).expect(text);
    for (written, units) in [
        ("\"0.01\"", "10000"),
        ("0.01", "10000"),
        ("0.010", "10000"),
        ("'1'", "1000000"),
        ("1", "1000000"),
        ("0.000001", "1"),
        ("90071992547.409931", "90071992547409931"),
        ("123456789012345678901234567890.123456", "123456789012345678901234567890123456"),
    ] {
        assert_eq!(amount(&read(&with("\"0.01\"", written))), atomic(units), "{written}");
    }
    let anchored = with("perRequest: \"0.01\"", "perRequest: &price 0.0123")
        .replace("charge: beforeBody", "charge: {optimistic: {perPayer: *price, perOffer: 1}}");
    let loaded = read(&anchored);
    let exposure = Exposure { per_payer: 12_300.into(), per_offer: 1_000_000.into() };
    assert_eq!((amount(&loaded), loaded.offers[0].charge), (12_300.into(), Charge::Optimistic(exposure)));
}

#[test]
fn json_is_read_as_yaml_is() {
    let text = "{\n\t\"apiVersion\": \"obol.org/v1alpha1\",\n\t\"kind\": \"ServiceOffer\",\n\
        \t\"metadata\": {\"name\": \"demo\", \"annotations\": {\"obol.org/paused\": \"true\"}},\n\
        \t\"spec\": {\n\t\t\"upstream\": {\"url\": \"http://[::1]:9000/a/\"},\n\t\t\"payment\": {\n\
        \t\t\t\"network\": \"base\", \"payTo\": \"0xDE709F2102306220921060314715629080E2FB77\",\n\
        \t\t\t\"price\": {\"perRequest\": 0.000001}, \"scheme\": null}}}";
    let loaded = read(text);
    assert_eq!(amount(&loaded), 1.into());
    assert_eq!(
        (loaded.offers[0].upstream.base.as_deref(), loaded.offers[0].paused),
        (Some("http://[::1]:9000/a"), true)
    );
    let told = faults(&read(&text.replace("\"scheme\": null", "\"sheme\": null")));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(&format!("{FILE}:9: spec.payment.sheme: unknown field")), "{told:?}");
}

#[test]
fn spellings_that_mean_the_same_are_the_same_offer() {
    let good = read(GOOD).offers;
    let address = "\"0x2222222222222222222222222222222222222222\"";
    for (from, to) in [
        ("base-sepolia", "BASE-Sepolia"),
        ("base-sepolia", "eip155:84532"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/"),
        ("http://127.0.0.1:9000", "HTTP://127.0.0.1:9000"),
        ("path: /services/demo", "path: /services/demo/"),
        ("  path: /services/demo\n", ""),
        ("shop.example", "Shop.Example"),
        (address, "0x2222222222222222222222222222222222222222"),
        ("    price:", "    asset: {symbol: usdc}\n    price:"),
        (
            "    price:",
            "    asset: {address: \"0x036cbd53842c5426634e7929541ec2318f3dcf7e\", decimals: 6}\n    price:",
        ),
        ("    maxTimeoutSeconds: 300\n", ""),
        ("charge: beforeBody", "charge:"),
        ("  onDisconnect: release\n", ""),
        ("  upstream:", "  type: skill\n  upstream:"),
        ("namespace: shop", "namespace: shop\n  annotations: {obol.org/paused: \"false\", other: \"x\"}"),
    ] {
        let loaded = read(&with(from, to));
        assert_eq!((faults(&loaded), &loaded.offers), (vec![], &good), "{to}");
    }
    for text in [GOOD.replace('\n', "\r\n"), format!("\u{feff}{GOOD}"), format!("---\n{GOOD}...\n")] {
        assert_eq!(read(&text).offers, good, "{text:?}");
    }
}

#[test]
fn an_address_of_one_case_has_no_checksum_to_be_wrong() {
    let address = "2222222222222222222222222222222222222222";
    let checksummed = "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    for text in [checksummed.to_owned(), checksummed.to_lowercase(), checksummed.to_uppercase()] {
        let loaded = read(&GOOD.replace(address, &text));
        assert_eq!(faults(&loaded), [""; 0], "{text}");
        assert_eq!(loaded.offers[0].accepts[0].pay_to.to_checksum(None), format!("0x{checksummed}"));
    }
}

#[test]
fn words_choose_what_they_say() {
    let loaded = read(
        &with("onDisconnect: release", "onDisconnect: charge")
            .replace("namespace: shop", "annotations: {obol.org/paused: \"true\"}"),
    );
    let offer = &loaded.offers[0];
    assert_eq!(
        (offer.on_disconnect, offer.paused, offer.id.namespace.as_str()),
        (Disconnect::Charge, true, "default")
    );
    let service = read(&with("url: http://127.0.0.1:9000", "service: ollama\n    port: 80"));
    assert_eq!(service.offers[0].upstream.base.as_deref(), Some("http://ollama.shop.svc.cluster.local:80"));
    let agent =
        read(&with("  upstream:", "  type: agent\n  agent: {ref: {name: a, namespace: b}}\n  upstream:"));
    assert_eq!((faults(&agent), agent.offers.len()), (vec![], 1));
}

#[test]
fn a_document_that_is_no_yaml_leaves_the_others_of_its_text_whole() {
    let other = GOOD.replace("name: demo", "name: other").replace("services/demo", "services/other");
    let text =
        format!("{GOOD}---\nspec: [\n--- # the third\n{other}---\n# nothing but a comment\n---\na: \"\n");
    let loaded = read(&text);
    let names: Vec<_> = loaded.offers.iter().map(|offer| offer.id.name.as_str()).collect();
    assert_eq!(names, ["demo", "other"]);
    let told = faults(&loaded);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with(&format!("{FILE}:22: this is not valid YAML or JSON (")), "{told:?}");
    assert!(told[1].contains("unclosed quote"), "{told:?}");
}

#[test]
fn a_fault_in_a_later_document_has_the_files_line() {
    let text = format!("# a comment\n{GOOD}---\n{}", GOOD.replace("name: demo", "name: Demo"));
    assert!(faults(&read(&text))[0].starts_with(&format!("{FILE}:26: metadata.name: \"Demo\"")), "{text}");
}

#[test]
fn of_two_documents_with_one_name_the_first_is_sold() {
    let text = format!("{GOOD}---\n{}", GOOD.replace("\"0.01\"", "\"0.02\""));
    let loaded = read(&text);
    assert_eq!((loaded.offers.len(), loaded.offers[0].accepts[0].amount), (1, 10_000.into()));
    assert_eq!(
        faults(&loaded),
        [format!(
            "{FILE}:25: metadata.name: shop/demo is sold by {FILE}:4 already; give one of them another name or namespace"
        )]
    );
    let apart = format!("{GOOD}---\n{}", GOOD.replace("namespace: shop", "namespace: other"));
    assert_eq!(read(&apart).offers.len(), 2);
}

#[test]
fn what_is_no_manifest_at_all_is_one_fault() {
    let aliases = (1..12).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")));
    let laughs = format!("a0: &a0 [x]\n{}", aliases.collect::<String>());
    for (text, says) in [
        ("- a\n- b\n", ":1: a manifest is a map with apiVersion, kind, metadata and spec, not a list"),
        ("hello", ":1: a manifest is a map"),
        ("\na: 1\na: 2\n", ":3: the key a is written twice; keep one"),
        ("a: *b", ":1: this is not valid YAML or JSON ("),
        ("\ta: 1\nb", "this is not valid YAML or JSON ("),
        (&format!("a: {}{}", "[".repeat(40), "]".repeat(40)), ":1: is nested deeper than 32"),
        (&format!("a: {}", "[".repeat(100_000)), "this is not valid YAML or JSON ("),
        (&laughs, "this is not valid YAML or JSON ("),
    ] {
        let loaded = read(text);
        let told = faults(&loaded);
        assert_eq!((loaded.offers.len(), told.len()), (0, 1), "{told:?}");
        assert!(told[0].starts_with(FILE) && told[0].contains(says), "{told:?}");
    }
    for text in ["", "\n", "# a comment\n", "---\n---\n", "null"] {
        assert_eq!((read(text).offers.len(), faults(&read(text))), (0, vec![]), "{text:?}");
    }
}

#[test]
fn a_credential_comes_from_the_environment_or_a_file_and_is_never_told() {
    // Cargo sets it for every test.
    let loaded =
        read(&with("    timeoutSeconds", "    authorizationEnv: CARGO_PKG_NAME\n    timeoutSeconds"));
    assert_eq!(loaded.offers[0].upstream.authorization.as_deref(), Some("obol-api"));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("demo.yaml");
    let load = |name: &str, content: &[u8]| {
        fs::write(folder.path().join("token"), content).expect("written");
        let text = with("    timeoutSeconds", &format!("    authorizationFile: {name}\n    timeoutSeconds"));
        parse(&text, &file, &registry(), &limits())
    };
    let loaded = load("token", b"  Bearer hunter2\n");
    assert_eq!(loaded.offers[0].upstream.authorization.as_deref(), Some("Bearer hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let absolute = folder.path().join("token").display().to_string();
    assert_eq!(load(&absolute, b"Basic x").offers[0].upstream.authorization.as_deref(), Some("Basic x"));

    let long = [b"hunter2".as_slice(); 2_000].concat();
    let cases: [(&str, &[u8], &str); 6] = [
        ("token", b" \n", "token holds no credential"),
        ("token", b"hunter2\nX-Other: 1", "token cannot be an Authorization header"),
        ("token", "hunter2\u{e9}".as_bytes(), "token cannot be an Authorization header"),
        ("token", b"hunter2\xff", "is not UTF-8 text"),
        ("token", &long, "is larger than 8192 bytes"),
        ("nothing", b"hunter2", "cannot be read: No such file"),
    ];
    for (name, content, says) in cases {
        let loaded = load(name, content);
        let told = faults(&loaded);
        assert_eq!((loaded.offers.len(), told.len()), (0, 1), "{told:?}");
        assert!(
            told[0].contains(":10: spec.upstream.authorizationFile: ") && told[0].contains(says),
            "{told:?}"
        );
        assert!(!told[0].contains("hunter2"), "{told:?}");
    }
}

#[test]
fn a_credential_that_is_not_there_or_said_twice_is_refused() {
    for (lines, says) in [
        (
            "    authorizationEnv: OBOL_TEST_OF_NO_SUCH_VARIABLE\n",
            ":10: spec.upstream.authorizationEnv: the environment variable OBOL_TEST_OF_NO_SUCH_VARIABLE is not set",
        ),
        (
            "    authorizationEnv: CARGO_PKG_NAME\n    authorizationFile: token\n",
            ":11: spec.upstream.authorizationFile: does not go with authorizationEnv",
        ),
    ] {
        let told = faults(&read(&with("    timeoutSeconds", &format!("{lines}    timeoutSeconds"))));
        assert!(told.len() == 1 && told[0].contains(says), "{told:?}");
    }
}

/// A small generator with a fixed seed: what fails once fails each time.
fn mutations(seed: &str, count: u64) -> impl Iterator<Item = String> {
    let bytes = seed.as_bytes().to_vec();
    let noise = b"\0\t\n :-[]{}\"'#&*!|>%@`,0.$\xff";
    (1..=count).map(move |n| {
        let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).expect("below a usize")
        };
        let mut bytes = bytes.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes.truncate(at + 1),
                1 => bytes[at] = noise[next(noise.len())],
                2 => bytes.insert(at, noise[next(noise.len())]),
                _ => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[test]
fn whatever_is_written_is_sold_or_told_and_nothing_panics() {
    let mut refused = 0;
    for name in ["minimal.yaml", "complete.yaml", "original.yaml"] {
        for text in mutations(&testdata(name), 1_500) {
            let loaded = read(&text);
            refused += usize::from(!loaded.faults.is_empty());
            for fault in &loaded.faults {
                assert!(!fault.message.is_empty() && fault.line.is_some(), "{fault:?}");
            }
        }
    }
    assert!(refused > 1_000, "{refused} were refused");
}
