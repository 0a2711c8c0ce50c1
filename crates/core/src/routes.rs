use crate::{Offer, OfferId, RequestPath};
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    fmt,
};

/// Which offer a request is for, compiled once per load.
///
/// An offer owns its path and everything below it; of nested offers the deepest wins, and an
/// offer for the request's host wins over one for every host. A lookup costs at most two
/// hashes for each path segment of the deepest offer, however many offers there are.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    every_host: Table<T>,
    hosts: HashMap<Box<str>, Table<T>>,
}

#[derive(Clone, Debug)]
struct Table<T> {
    by_path: HashMap<Box<str>, T>,
    /// Paths that are not spelled as their keys, by key. A lookup so need not go to the offer
    /// for its path, and an entry is as small as can be.
    spelled: HashMap<Box<str>, Box<str>>,
    /// Segments of the deepest path.
    depth: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_path: HashMap::new(), spelled: HashMap::new(), depth: 0 }
    }
}

/// Two offers for one path: the second is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub refused: OfferId,
    pub serving: OfferId,
    pub path: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not served: {} is sold at {} already (paths are compared without case); give one of them \
             another spec.path",
            self.refused, self.serving, self.path
        )
    }
}

impl<T: AsRef<Offer>> Routes<T> {
    /// Of several offers for one path the first is served.
    pub fn compile(offers: impl IntoIterator<Item = T>) -> (Self, Vec<Conflict>) {
        let mut routes = Self { every_host: Table::default(), hosts: HashMap::new() };
        let mut conflicts = Vec::new();
        for listed in offers {
            let offer = listed.as_ref();
            let table = match &offer.host {
                Some(host) => routes.hosts.entry(host.to_ascii_lowercase().into()).or_default(),
                None => &mut routes.every_host,
            };
            let spelled = offer.path.trim_end_matches('/');
            let path = spelled.to_ascii_lowercase();
            table.depth = table.depth.max(depth(&path));
            match table.by_path.entry(path.into()) {
                Entry::Vacant(free) => {
                    if *spelled != **free.key() {
                        table.spelled.insert(free.key().clone(), spelled.into());
                    }
                    free.insert(listed);
                }
                Entry::Occupied(taken) => conflicts.push(Conflict {
                    refused: offer.id.clone(),
                    serving: taken.get().as_ref().id.clone(),
                    path: offer.path.clone(),
                }),
            }
        }
        (routes, conflicts)
    }

    /// `host` is the request's `Host`, port included.
    ///
    /// Paths are compared without case, and a path that fits only so belongs to nobody: on an
    /// upstream that ignores case it would be a way around the deeper of two offers.
    ///
    /// So are segments compared without dots and spaces at their ends, which some file systems
    /// leave out, and up to an encoded `?` or `#`, which some servers decode twice.
    pub fn find(&self, host: Option<&str>, path: &RequestPath<'_>) -> Option<&T> {
        let decoded = path.decoded();
        let folded = fold(decoded);
        let (spelled, found) = self.deepest(host, &folded)?;
        if let Some(plain) = plain(&folded)
            && self.deepest(host, &plain).is_none_or(|(_, other)| !std::ptr::eq(other, found))
        {
            return None;
        }
        decoded.starts_with(spelled).then_some(found)
    }

    fn deepest<'t: 'p, 'p>(&'t self, host: Option<&str>, folded: &'p str) -> Option<(&'p str, &'t T)> {
        let for_host = || self.hosts.get(&*fold(without_port(host?)))?.find(folded);
        let found = match self.hosts.is_empty() {
            true => None,
            false => for_host(),
        };
        found.or_else(|| self.every_host.find(folded))
    }

    /// All offers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.hosts.values().chain([&self.every_host]).flat_map(|table| table.by_path.values())
    }

    pub fn len(&self) -> usize {
        self.every_host.by_path.len() + self.hosts.values().map(|table| table.by_path.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Table<T> {
    /// The deepest of the paths that this one is at or below, as it is spelled, and what is there.
    fn find<'t: 'p, 'p>(&'t self, folded: &'p str) -> Option<(&'p str, &'t T)> {
        let mut slashes = folded.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        let mut key = slashes.nth(self.depth).map_or(folded, |(at, _)| &folded[..at]);
        loop {
            if let Some(found) = self.by_path.get(key) {
                return Some((self.spelled.get(key).map_or(key, |spelled| spelled), found));
            }
            key = &key[..key.rfind('/')?];
        }
    }
}

/// How deep an offer's path may be: it bounds what a lookup costs. Manifests refuse deeper ones.
pub const MAX_DEPTH: usize = 32;

fn depth(path: &str) -> usize {
    path.bytes().filter(|&byte| byte == b'/').count()
}

fn fold(text: &str) -> Cow<'_, str> {
    match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(text.to_ascii_lowercase()),
        false => Cow::Borrowed(text),
    }
}

/// The path as the servers read it that leave out what others keep; none when they all agree.
fn plain(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    let before = path.find(['?', '#']).map_or(path, |at| &path[..at]);
    let trimmed = |segment: &str| segment.trim_end_matches(['.', ' ']).len();
    if before.len() == path.len() && path.split('/').all(|segment| trimmed(segment) == segment.len()) {
        return None;
    }
    let segments = before.split('/').map(|segment| &segment[..trimmed(segment)]);
    // Such servers often read several slashes as one, too.
    Some(
        segments
            .filter(|segment| !segment.is_empty())
            .fold(String::new(), |path, segment| path + "/" + segment),
    )
}

fn without_port(host: &str) -> &str {
    let name = match host.rfind(':') {
        Some(colon)
            if host[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(']') =>
        {
            &host[..colon]
        }
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Charge, Disconnect, Upstream};
    use std::{sync::Arc, time::Duration};

    fn offer(name: &str, host: Option<&str>, path: &str) -> Arc<Offer> {
        Arc::new(Offer {
            id: OfferId { namespace: "test".to_owned(), name: name.to_owned() },
            description: String::new(),
            host: host.map(str::to_owned),
            path: path.to_owned(),
            upstream: Upstream {
                base: "http://127.0.0.1:1".to_owned(),
                authorization: None,
                header_timeout: Duration::from_secs(1),
            },
            accepts: vec![],
            charge: Charge::BeforeBody,
            on_disconnect: Disconnect::Release,
            paused: false,
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
        let (routes, conflicts) = Routes::compile([
            offer("one", None, "/a"),
            offer("two", None, "/A/"),
            offer("three", None, "/b"),
        ]);
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
}
