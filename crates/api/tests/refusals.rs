//! What is refused, with the file, the line and the field at which it is.

mod common;

use common::{FILE, GOOD, assert_refused, faults, read, with};

#[test]
fn unknown_fields_are_told_with_what_was_probably_meant() {
    assert_refused(&[
        ("kind: Ser", "kinds: 1\nkind: Ser", "2: kinds", "unknown field; did you mean kind?"),
        ("  name: demo", "  name: demo\n  label: {}", "5: metadata.label", "did you mean labels?"),
        ("  hostname:", "  hostName:", "12: spec.hostName", "unknown field; did you mean hostname?"),
        ("  hostname:", "  routes: []\n  hostname:", "12: spec.routes", "unknown field; known here: type, "),
        (
            "timeoutSeconds: 60",
            "timeoutSecond: 60",
            "10: spec.upstream.timeoutSecond",
            "did you mean timeoutSeconds?",
        ),
        ("    network", "    payto: x\n    network", "14: spec.payment.payto", "did you mean payTo?"),
        (
            "      perRequest:",
            "      perReq: 1\n      perRequest:",
            "18: spec.payment.price.perReq",
            "unknown field",
        ),
        (
            "    price:",
            "    asset: {symbl: x, symbol: USDC}\n    price:",
            "17: spec.payment.asset.symbl",
            "did you mean symbol?",
        ),
        (
            "charge: beforeBody",
            "charge: {optimistc: {}, optimistic: {perPayer: 1, perOffer: 1}}",
            "19: spec.charge.optimistc",
            "did you mean optimistic?",
        ),
        (
            "charge: beforeBody",
            "charge: {optimistic: {perPayer: 1, perOffer: 1, perDay: 1}}",
            "19: spec.charge.optimistic.perDay",
            "unknown field",
        ),
        (
            "  path:",
            "  model: {name: a, runtim: vllm}\n  path:",
            "11: spec.model.runtim",
            "did you mean runtime?",
        ),
        (
            "  path:",
            "  registration: {enabld: true}\n  path:",
            "11: spec.registration.enabld",
            "did you mean enabled?",
        ),
        (
            "  path:",
            "  registration:\n    services:\n      - {name: a, endpoint: b, vers: c}\n  path:",
            "13: spec.registration.services[0].vers",
            "unknown field",
        ),
    ]);
}

#[test]
fn a_document_has_to_be_an_offer_of_this_version() {
    assert_refused(&[
        (
            "obol.org/v1alpha1",
            "obol.org/v1",
            "1: apiVersion",
            "\"obol.org/v1\" is not read here; write obol.org/v1alpha1",
        ),
        ("apiVersion: obol.org/v1alpha1", "apiVersion: v1", "1: apiVersion", "is not read here"),
        ("apiVersion: obol.org/v1alpha1\n", "", "1: apiVersion", "is missing: write obol.org/v1alpha1"),
        ("kind: ServiceOffer", "kind: ServiceOfer", "2: kind", "did you mean ServiceOffer?"),
        (
            "kind: ServiceOffer",
            "kind: ConfigMap",
            "2: kind",
            "\"ConfigMap\" is not a kind of obol.org/v1alpha1",
        ),
        ("kind: ServiceOffer\n", "", "1: kind", "is missing: write ServiceOffer"),
    ]);
}

#[test]
fn names_are_dns_labels() {
    let long = format!("name: {}", "a".repeat(64));
    assert_refused(&[
        ("name: demo", "name: Demo", "4: metadata.name", "\"Demo\" is not a DNS label"),
        ("name: demo", "name: -demo", "4: metadata.name", "not a DNS label"),
        ("name: demo", "name: demo-", "4: metadata.name", "not a DNS label"),
        ("name: demo", "name: a.b", "4: metadata.name", "not a DNS label"),
        ("name: demo", "name: \"\"", "4: metadata.name", "not a DNS label"),
        ("name: demo", &long, "4: metadata.name", "at most 63"),
        (
            "name: demo",
            "name: 7",
            "4: metadata.name",
            "must be a text, not a number; put it in quotes: \"7\"",
        ),
        (
            "name: demo",
            "name: yes",
            "4: metadata.name",
            "must be a text, not a boolean; put it in quotes: \"yes\"",
        ),
        ("  name: demo\n", "", "3: metadata.name", "is missing: give the offer a name"),
        ("namespace: shop", "namespace: sh/op", "5: metadata.namespace", "not a DNS label"),
        (
            "namespace: shop",
            "namespace: shop\n  annotations: {obol.org/paused: \"yes\"}",
            "6: metadata.annotations.obol.org/paused",
            "\"yes\" is neither \"true\" nor \"false\"",
        ),
        (
            "namespace: shop",
            "namespace: shop\n  annotations: {obol.org/paused: true}",
            "6: metadata.annotations.obol.org/paused",
            "put it in quotes: \"true\"",
        ),
    ]);
}

#[test]
fn an_upstream_is_an_http_url_or_a_service_and_never_both() {
    let url = "url: http://127.0.0.1:9000";
    let at = "9: spec.upstream.url";
    assert_refused(&[
        (url, "url: 127.0.0.1:9000", at, "must be a URL with its scheme"),
        (url, "url: ftp://host", at, "must be http or https"),
        (url, "url: http://host/a?b=c", at, "neither query nor fragment"),
        (url, "url: \"http://host/a#b\"", at, "neither query nor fragment"),
        (url, "url: http://user:secret@host", at, "no user or password"),
        (url, "url: http://", at, "is not a URL"),
        (url, "url: http://:80", at, "names no host"),
        (url, "url: \"http://host:\"", at, "between 1 and 65535"),
        (url, "url: http://host:0", at, "between 1 and 65535"),
        (url, "url: http://host:65536", at, "between 1 and 65535"),
        (url, "url: http://ho st", at, "is not a URL"),
        (url, "url: http://h\u{f6}st", at, "is not a URL"),
        (url, "url: http://host/a/../b", at, "dot segment"),
        (url, "healthPath: /health", "8: spec.upstream.url", "is missing: give url, or service"),
        (url, "url: http://host\n    service: x", "10: spec.upstream.service", "does not go with url"),
        (url, "url: http://host\n    port: 1", "10: spec.upstream.port", "does not go with url"),
        (url, "service: Ollama", "9: spec.upstream.service", "not a DNS label"),
        (url, "service: x\n    namespace: a.b", "10: spec.upstream.namespace", "not a DNS label"),
        (url, "service: x\n    port: 0", "10: spec.upstream.port", "0 is not a port"),
        (url, "service: x\n    port: 65536", "10: spec.upstream.port", "65536 is not a port"),
        (url, "service: x\n    port: \"80\"", "10: spec.upstream.port", "must be a whole number, not a text"),
        (url, "service: x\n    port: 0x50", "10: spec.upstream.port", "0x50 is not a plain whole number"),
        (
            url,
            "url: http://host\n    healthPath: health",
            "10: spec.upstream.healthPath",
            "must begin with a slash",
        ),
        (
            "timeoutSeconds: 60",
            "timeoutSeconds: 0",
            "10: spec.upstream.timeoutSeconds",
            "0 is not between 1 and 3600",
        ),
        (
            "timeoutSeconds: 60",
            "timeoutSeconds: 3601",
            "10: spec.upstream.timeoutSeconds",
            "3601 is not between",
        ),
        (
            "timeoutSeconds: 60",
            "timeoutSeconds: 1.5",
            "10: spec.upstream.timeoutSeconds",
            "1.5 is not a plain whole",
        ),
        (
            "timeoutSeconds: 60",
            "timeoutSeconds: -1",
            "10: spec.upstream.timeoutSeconds",
            "-1 is not a plain whole",
        ),
    ]);
}

#[test]
fn no_fault_repeats_what_may_be_a_password() {
    for url in ["http://user:hunter2@host", "hunter2", "http://host/?key=hunter2"] {
        let told = faults(&read(&with("http://127.0.0.1:9000", url))).concat();
        assert!(!told.is_empty() && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_offer_without_upstream_or_payment_is_told_what_to_give() {
    let upstream = "  upstream:\n    url: http://127.0.0.1:9000\n    timeoutSeconds: 60\n";
    let payment = &GOOD[GOOD.find("  payment:").expect("there")..GOOD.find("  charge").expect("there")];
    assert_refused(&[
        (upstream, "", "6: spec.upstream", "is missing: give the service's url"),
        (
            upstream,
            "  agent: {ref: {name: a, namespace: b}}\n",
            "8: spec.agent",
            "say where it runs in spec.upstream",
        ),
        (payment, "", "6: spec.payment", "is missing: say how it is paid"),
        (payment, "  payments: []\n", "13: spec.payments", "is empty"),
        (payment, "  payments: {}\n", "13: spec.payments", "must be a list, not a map"),
        (payment, "  payment: []\n", "13: spec.payment", "must be a map, not a list"),
        (
            "  charge",
            "  payments: [{network: base}]\n  charge",
            "19: spec.payments",
            "does not go with payment",
        ),
    ]);
    let head = &GOOD[..GOOD.find("spec:").expect("there")];
    assert_eq!(
        faults(&read(head)),
        [format!("{FILE}:1: spec: is missing: say what is sold: upstream and payment")]
    );
}

#[test]
fn paths_and_hosts_that_no_request_could_match_safely_are_refused() {
    let deep = format!("path: {}", "/a".repeat(obol_core::MAX_DEPTH + 1));
    let (path, host) = ("path: /services/demo", "hostname: shop.example");
    let (at_path, at_host) = ("11: spec.path", "12: spec.hostname");
    assert_refused(&[
        (path, "path: services", at_path, "must begin with a slash"),
        (path, "path: /a b", at_path, "letters, digits and / _ . - only"),
        (path, "path: /a%2e", at_path, "letters, digits and / _ . - only"),
        (path, "path: /a?b", at_path, "letters, digits and / _ . - only"),
        (path, "path: /a/*", at_path, "letters, digits and / _ . - only"),
        (path, "path: /a//b", at_path, "empty segment"),
        (path, "path: /verify", at_path, "verifier's own"),
        (path, "path: /Receipts/x", at_path, "verifier's own"),
        (path, "path: //", at_path, "empty segment"),
        (path, "path: /a/../b", at_path, "dot segment"),
        (path, "path: /a/.", at_path, "dot segment"),
        (path, &deep, at_path, "has 33 segments; at most 32 are sold"),
        (host, "hostname: shop.example:8080", at_host, "leave scheme and port out"),
        (host, "hostname: https://shop.example", at_host, "leave scheme and port out"),
        (host, "hostname: \"*.example\"", at_host, "wildcards"),
        (host, "hostname: \"\"", at_host, "is not a host name"),
        (host, "hostname: shop..example", at_host, "is not a host name"),
        (host, "hostname: -shop.example", at_host, "is not a host name"),
        (host, "hostname: shop_1.example", at_host, "is not a host name"),
        (host, "hostname: shop.example/a", at_host, "is not a host name"),
    ]);
}

#[test]
fn words_and_shapes_are_checked_everywhere() {
    let path = "  path:";
    let long = format!("description: {}", "a".repeat(1_001));
    assert_refused(&[
        (
            path,
            "  type: https\n  path:",
            "11: spec.type",
            "\"https\" is none of: http, inference, agent, fine-tuning, skill; did you mean http?",
        ),
        (path, "  model: {runtime: vllm}\n  path:", "11: spec.model.name", "is missing"),
        (
            path,
            "  model: {name: a, runtime: llama}\n  path:",
            "11: spec.model.runtime",
            "none of: ollama, vllm, tgi",
        ),
        (path, "  provenance: {a: 1}\n  path:", "11: spec.provenance.a", "put it in quotes: \"1\""),
        (
            path,
            "  registration: {enabled: \"true\"}\n  path:",
            "11: spec.registration.enabled",
            "must be true or false, not a text",
        ),
        (
            path,
            "  registration: {skills: [a, 1]}\n  path:",
            "11: spec.registration.skills[1]",
            "must be a text",
        ),
        (
            path,
            "  registration: {services: [{name: a}]}\n  path:",
            "11: spec.registration.services[0].endpoint",
            "is missing",
        ),
        ("description: A demo", "description: [A]", "7: spec.description", "must be a text, not a list"),
        ("description: A demo", &long, "7: spec.description", "longer than 1000 characters"),
    ]);
}

#[test]
fn all_faults_of_a_document_are_told_at_once_in_its_order() {
    let text = GOOD
        .replace("name: demo", "name: Demo")
        .replace("timeoutSeconds: 60", "timeoutSeconds: 0")
        .replace("hostname: shop.example", "hostname: a:1")
        .replace("network: base-sepolia", "network: nowhere")
        .replace("payTo: \"0x22", "payTo: \"0x2")
        .replace("perRequest: \"0.01\"", "perHour: 1")
        .replace("onDisconnect: release", "onDisconect: release");
    let loaded = read(&text);
    let places: Vec<_> =
        loaded.faults.iter().map(|fault| (fault.line.unwrap_or(0), fault.field.as_str())).collect();
    assert_eq!(
        places,
        [
            (4, "metadata.name"),
            (10, "spec.upstream.timeoutSeconds"),
            (12, "spec.hostname"),
            (14, "spec.payment.network"),
            (15, "spec.payment.payTo"),
            (18, "spec.payment.price.perHour"),
            (20, "spec.onDisconect"),
        ]
    );
}

#[test]
fn a_drain_that_cannot_be_read_is_told() {
    let spec = "spec:\n";
    assert_refused(&[
        (
            spec,
            "spec:\n  drainAt: tomorrow\n",
            "7: spec.drainAt",
            "\"tomorrow\" is not a date and time such as",
        ),
        (spec, "spec:\n  drainAt: 2026-11-26\n", "7: spec.drainAt", "is not a date and time"),
        (spec, "spec:\n  drainAt: 5\n", "7: spec.drainAt", "must be a text, not a number"),
        (spec, "spec:\n  drainAt: 9999-12-31T23:30:00Z\n", "7: spec.drainAt", "is beyond the year 9999"),
        (
            spec,
            "spec:\n  drainGracePeriod: 1d\n",
            "7: spec.drainGracePeriod",
            "\"1d\" is not a span of time such as 1h",
        ),
        (
            spec,
            "spec:\n  drainGracePeriod: -1h\n",
            "7: spec.drainGracePeriod",
            "\"-1h\" is not a span of time",
        ),
        (spec, "spec:\n  drainGracePeriod: 9000h\n", "7: spec.drainGracePeriod", "is longer than a year"),
        (spec, "spec:\n  drainat: x\n", "7: spec.drainat", "unknown field; did you mean drainAt?"),
    ]);
}
