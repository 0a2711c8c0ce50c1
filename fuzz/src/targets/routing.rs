//! What decides which offer a request is for, and whom its headers come from.

use obol_core::{Charge, Disconnect, MAX_DEPTH, Offer, OfferId, Pattern, RequestPath, Routes, Upstream};
use obol_verifier::Network;
use std::{sync::Arc, time::Duration};

/// Cutting the path as the client spelled it and cutting the decoded one gives the same rest:
/// what is matched is what is forwarded.
pub fn paths(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let Ok(path) = RequestPath::parse(raw) else { return };
    let decoded = path.decoded();
    assert!(decoded.starts_with('/') && !decoded.contains("//"), "{raw:?}");
    assert!(!decoded.contains(['\\', ';']) && !decoded.contains(char::is_control), "{raw:?}");
    assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."), "{raw:?}");
    assert_eq!(raw.matches('/').count(), decoded.matches('/').count(), "{raw:?}");
    let cuts: Vec<_> = decoded.match_indices('/').map(|(at, _)| at).collect();
    for (segments, at) in cuts.into_iter().enumerate() {
        let rest = path.after(segments);
        let reread = RequestPath::parse(rest).expect("a part of a good path is good");
        assert_eq!(reread.decoded(), &decoded[at..], "{raw:?} after {segments}");
    }
    assert_eq!(path.after(raw.matches('/').count()), "", "{raw:?}");
    // A reader that decodes once more sees the same path.
    if let Ok(again) = RequestPath::parse(decoded) {
        assert_eq!(again.decoded(), decoded, "{raw:?}");
    }
}

/// Lines: the request's host, its path, then offers' paths; every other offer is for one host.
///
/// What is found is an offer for that host or all hosts, at a prefix of the path that ends with a
/// segment, and no other such offer is deeper, nor would be to a server that leaves out dots and
/// spaces at the ends of segments and what follows a `?` or `#`.
pub fn routes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let (Some(host), Some(path)) = (lines.next(), lines.next()) else { return };
    let Ok(path) = RequestPath::parse(path) else { return };
    let offers: Vec<_> = lines.filter(is_sold).take(64).enumerate().map(offer).collect();
    let (routes, conflicts) = Routes::compile(offers.iter().cloned());
    assert_eq!(routes.len() + conflicts.len(), offers.len());
    let served: Vec<_> =
        offers.iter().filter(|offer| conflicts.iter().all(|conflict| conflict.refused != offer.id)).collect();
    for host in [None, Some(host), Some(HOST)] {
        let found = routes.find(host, &path);
        if let Some(offer) = found {
            assert!(owns(offer, path.decoded()), "{} does not own {:?}", offer.path, path.decoded());
            assert!(offer.host.is_none() || host.is_some(), "{host:?}");
        }
        // The host's own offers come first, however deep the others are.
        let candidates: Vec<_> = [host.filter(|host| *host == HOST), None]
            .into_iter()
            .map(|host| deepest(&served, host, path.decoded()))
            .collect();
        let plain = plain(path.decoded());
        let to_others = [host.filter(|host| *host == HOST), None]
            .into_iter()
            .find_map(|host| deepest(&served, host, &plain));
        if host.is_none() || host == Some(HOST) {
            let expected = candidates.into_iter().flatten().next();
            let expected = expected.filter(|offer| owns(offer, path.decoded()));
            let depth = |offer: &&Arc<Offer>| offer.path.as_str().trim_end_matches('/').len();
            let expected = expected.filter(|offer| to_others.as_ref().map(depth) == Some(depth(offer)));
            assert_eq!(found.map(|offer| &offer.id), expected.map(|offer| &offer.id), "{host:?}");
        }
    }
}

fn plain(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let kept = path.split(['?', '#']).next().unwrap_or_default();
    let segments = kept.split('/').map(|segment| segment.trim_end_matches([' ', '.']));
    segments.filter(|segment| !segment.is_empty()).map(|segment| format!("/{segment}")).collect()
}

const HOST: &str = "shop.example";

fn is_sold(path: &&str) -> bool {
    let depth = path.matches('/').count();
    RequestPath::parse(path).is_ok_and(|parsed| parsed.decoded() == *path) && depth <= MAX_DEPTH
}

fn offer((index, path): (usize, &str)) -> Arc<Offer> {
    Arc::new(Offer {
        id: OfferId { namespace: "fuzz".to_owned(), name: index.to_string() },
        description: String::new(),
        host: (index % 2 == 1).then(|| HOST.to_owned()),
        path: Pattern::Below(path.to_owned()),
        upstream: Upstream {
            base: None,
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

fn owns(offer: &Offer, path: &str) -> bool {
    is_at_or_below(offer.path.as_str(), path)
}

fn is_at_or_below(sold: &str, path: &str) -> bool {
    path.strip_prefix(sold.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn deepest<'a>(served: &[&'a Arc<Offer>], host: Option<&str>, path: &str) -> Option<&'a Arc<Offer>> {
    let folded = path.to_ascii_lowercase();
    let at_prefix = |offer: &&&Arc<Offer>| {
        let lower = offer.path.as_str().to_ascii_lowercase();
        offer.host.as_deref() == host && is_at_or_below(&lower, &folded)
    };
    served
        .iter()
        .filter(at_prefix)
        .max_by_key(|offer| offer.path.as_str().trim_end_matches('/').len())
        .copied()
}

/// Lines: a request's path, then patterns: with a last `/*` all below, with others some segments,
/// without any a path alone.
///
/// What is found fits the path as it is spelled, and is what a plain reading of the rules finds.
pub fn patterns(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let Some(Ok(path)) = lines.next().map(RequestPath::parse) else { return };
    let is_pattern = |line: &&str| {
        let whole = line.split('/').all(|segment| segment == "*" || !segment.contains('*'));
        is_sold(line) && whole && (line.len() == 1 || !line.ends_with('/'))
    };
    let offers: Vec<_> = lines.filter(is_pattern).take(24).enumerate().map(pattern).collect();
    let (routes, conflicts) = Routes::compile(offers.iter().cloned());
    assert_eq!(routes.len() + conflicts.len(), offers.len());
    let served: Vec<_> =
        offers.iter().filter(|offer| conflicts.iter().all(|conflict| conflict.refused != offer.id)).collect();
    let found = routes.find(None, &path);
    let id = |offer: &Arc<Offer>| offer.id.clone();
    let by_rule = |path: &str| most_specific(&served, &segments(&path.to_ascii_lowercase()));
    let expected = by_rule(path.decoded())
        .filter(|offer| by_rule(&plain(path.decoded())).map(id) == Some(id(offer)))
        .filter(|offer| fits(&offer.path, &segments(path.decoded())));
    assert_eq!(found.map(id), expected.map(id), "{:?}", path.decoded());
}

fn pattern((index, line): (usize, &str)) -> Arc<Offer> {
    let mut offer = Arc::unwrap_or_clone(offer((index * 2, line)));
    offer.path = match (line.find('*'), line.strip_suffix("/*")) {
        (None, _) => Pattern::Exact(line.to_owned()),
        (Some(star), Some(path)) if star == path.len() + 1 => {
            Pattern::Below(if path.is_empty() { "/" } else { path }.to_owned())
        }
        _ => Pattern::Glob(line.to_owned()),
    };
    Arc::new(offer)
}

/// What stands between slashes; the last is empty when the path ends in one.
fn segments(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

fn fits(pattern: &Pattern, path: &[&str]) -> bool {
    let own: Vec<_> = segments(pattern.as_str()).into_iter().filter(|segment| !segment.is_empty()).collect();
    let (open, own) = match (pattern, own.split_last()) {
        (Pattern::Glob(_), Some((&"*", own))) => (true, own),
        _ => (false, own.as_slice()),
    };
    let begins = own.len() <= path.len()
        && own.iter().zip(path).all(|(own, segment)| own == segment || (*own == "*" && !segment.is_empty()));
    let rest = path.get(own.len()..).unwrap_or_default();
    begins
        && match pattern {
            Pattern::Below(_) => true,
            Pattern::Exact(_) => rest.is_empty() || (own.is_empty() && rest == [""]),
            Pattern::Glob(_) if open => rest.first().is_some_and(|segment| !segment.is_empty()),
            Pattern::Glob(_) => rest.is_empty(),
        }
}

/// Of a folded path: the deepest path that sells it, unless a deeper one is sold alone; then the
/// longest pattern that is deeper than that one.
fn most_specific<'a>(served: &[&'a Arc<Offer>], path: &[&str]) -> Option<&'a Arc<Offer>> {
    let lower = |offer: &Offer| match &offer.path {
        Pattern::Below(path) => Pattern::Below(path.to_ascii_lowercase()),
        Pattern::Exact(path) => Pattern::Exact(path.to_ascii_lowercase()),
        Pattern::Glob(path) => Pattern::Glob(path.to_ascii_lowercase()),
    };
    let depth = |pattern: &Pattern| {
        let own = segments(pattern.as_str());
        own.iter().filter(|segment| !segment.is_empty()).count() - usize::from(own.last() == Some(&"*"))
    };
    // Whether what is below this path is its own, whoever may have it.
    let owns = |pattern: &Pattern| fits(&Pattern::Below(pattern.as_str().to_owned()), path);
    let mut at_paths: Vec<_> =
        served.iter().filter(|offer| !matches!(offer.path, Pattern::Glob(_))).collect();
    at_paths.sort_by_key(|offer| {
        (std::cmp::Reverse(depth(&offer.path)), matches!(offer.path, Pattern::Below(_)))
    });
    let mut kept = 0;
    for offer in at_paths {
        let pattern = lower(offer);
        let deep = depth(&pattern);
        let slash = path.len() == deep + 1 && path[deep].is_empty();
        if deep < kept || !owns(&pattern) {
            continue;
        }
        match pattern {
            _ if fits(&pattern, path) && !(deep == kept && kept > 0 && slash) => return Some(offer),
            Pattern::Exact(_) => kept = kept.max(deep),
            Pattern::Below(_) | Pattern::Glob(_) => {}
        }
    }
    let mut globs: Vec<_> = served.iter().filter(|offer| matches!(offer.path, Pattern::Glob(_))).collect();
    globs.sort_by_key(|offer| {
        let own = segments(offer.path.as_str());
        let any: Vec<_> = own.iter().take(depth(&offer.path)).map(|segment| *segment == "*").collect();
        (std::cmp::Reverse(any.len()), own.last() == Some(&"*"), any)
    });
    for offer in globs {
        let pattern = lower(offer);
        let deep = depth(&pattern);
        if deep <= kept {
            continue;
        }
        if fits(&pattern, path) {
            return Some(offer);
        }
        // What is below a pattern without an open end is nobody's.
        let head = Pattern::Glob(pattern.as_str().to_owned());
        if path.len() > deep && fits(&head, &path[..deep]) {
            return None;
        }
    }
    None
}

/// A network that is read is read the same again when it is written anew.
pub fn networks(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(network) = text.parse::<Network>() {
        assert_eq!(network.to_string().parse(), Ok(network), "{text:?}");
    }
}
