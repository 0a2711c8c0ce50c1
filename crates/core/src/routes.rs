use crate::{
    Offer, OfferId, Pattern, RequestPath,
    globs::{self, Globs, Match, Unfit},
};
use std::{borrow::Cow, collections::HashMap, fmt};

/// Which offer a request is for, compiled once per load.
///
/// An offer owns its path, and everything below it unless it is sold at that path alone. The most
/// specific wins: of offers at paths the deepest, and one at the path alone before one for all below
/// it; then patterns. An offer for the request's host wins over one for every host. A lookup costs at
/// most two hashes for each path segment of the deepest offer and for each shape of patterns,
/// however many offers there are.
#[derive(Clone, Debug)]
pub struct Routes<T> {
    every_host: Table<T>,
    hosts: HashMap<Box<str>, Table<T>>,
}

#[derive(Clone, Debug)]
struct Table<T> {
    by_path: HashMap<Box<str>, Slot<T>>,
    /// Paths that are not spelled as their keys, by key. A lookup so need not go to the offer
    /// for its path, and an entry is as small as can be.
    spelled: HashMap<Box<str>, Box<str>>,
    /// Segments of the deepest path.
    depth: usize,
    globs: Globs<T>,
}

/// What is sold at one path.
#[derive(Clone, Debug)]
struct Slot<T> {
    exact: Option<T>,
    below: Option<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { exact: None, below: None }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_path: HashMap::new(), spelled: HashMap::new(), depth: 0, globs: Globs::default() }
    }
}

/// An offer that is not served because of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub refused: OfferId,
    pub path: Pattern,
    pub clash: Clash,
}

/// What keeps an offer from being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// This one came first.
    Taken(OfferId),
    /// Whatever it would be asked for is this one's.
    Hidden(OfferId),
    /// Patterns of too many shapes.
    TooManyShapes,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { refused, path, clash } = self;
        write!(f, "{refused} is not served: ")?;
        match clash {
            Clash::Taken(serving) => write!(
                f,
                "{serving} is sold at {} already (paths are compared without case); give one of them another path",
                path.as_str()
            ),
            Clash::Hidden(serving) => write!(
                f,
                "whatever {path} stands for is sold by {serving}, which owns everything below its path; give one of \
                 them another path"
            ),
            Clash::TooManyShapes => write!(
                f,
                "the patterns before {path} have their * in all the places that are looked at; write it without a \
                 * in the middle"
            ),
        }
    }
}

impl<T: AsRef<Offer>> Routes<T> {
    /// Of several offers for one path the first is served: their order is their precedence.
    pub fn compile(offers: impl IntoIterator<Item = T>) -> (Self, Vec<Conflict>) {
        let mut routes = Self { every_host: Table::default(), hosts: HashMap::new() };
        let (mut globs, mut conflicts) = (Vec::new(), Vec::new());
        for listed in offers {
            if let Pattern::Glob(_) = listed.as_ref().path {
                globs.push(listed);
                continue;
            }
            let table = routes.table(listed.as_ref());
            conflicts.extend(table.add(listed));
        }
        // Last, when it is known what is sold below a path.
        for listed in globs {
            let table = routes.table(listed.as_ref());
            conflicts.extend(table.add_glob(listed));
        }
        (routes, conflicts)
    }

    fn table(&mut self, offer: &Offer) -> &mut Table<T> {
        match &offer.host {
            Some(host) => self.hosts.entry(host.to_ascii_lowercase().into()).or_default(),
            None => &mut self.every_host,
        }
    }

    /// `host` is the request's `Host`, port included.
    ///
    /// Paths are compared without case, and a path that fits only so belongs to nobody: on an
    /// upstream that ignores case it would be a way around the deeper of two offers.
    ///
    /// So are segments compared without dots and spaces at their ends, which some file systems
    /// leave out, and up to an encoded `?` or `#`, which some servers decode twice. What is below a
    /// path that is sold alone, or is that path with a slash at its end, is nobody's, too.
    pub fn find(&self, host: Option<&str>, path: &RequestPath<'_>) -> Option<&T> {
        let decoded = path.decoded();
        let folded = fold(decoded);
        let (place, found) = self.deepest(host, &folded)?;
        if let Some(plain) = plain(&folded)
            && self.deepest(host, &plain).is_none_or(|(_, other)| !std::ptr::eq(other, found))
        {
            return None;
        }
        let is_spelled = match place {
            Place::Path(spelled) => decoded.starts_with(spelled),
            Place::Glob(spelled) => globs::is_spelled_in(spelled, decoded),
        };
        is_spelled.then_some(found)
    }

    fn deepest<'t: 'p, 'p>(&'t self, host: Option<&str>, folded: &'p str) -> Option<(Place<'p>, &'t T)> {
        let of_host = match self.hosts.is_empty() {
            true => None,
            false => host.and_then(|host| self.hosts.get(&*fold(without_port(host)))),
        };
        let found = of_host.map_or(Hit::Nothing, |table| table.find(folded));
        let found = if let Hit::Nothing = found { self.every_host.find(folded) } else { found };
        match found {
            Hit::Sold(place, listed) => Some((place, listed)),
            Hit::Kept | Hit::Nothing => None,
        }
    }

    /// All offers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.hosts.values().chain([&self.every_host]).flat_map(Table::iter)
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// Where something is sold, as it is spelled.
#[derive(Clone, Copy, Debug)]
enum Place<'p> {
    Path(&'p str),
    Glob(&'p str),
}

/// What a path is to a table.
enum Hit<'p, 't, T> {
    Sold(Place<'p>, &'t T),
    /// Nobody's, and nobody else may sell it either.
    Kept,
    Nothing,
}

impl<T: AsRef<Offer>> Table<T> {
    fn add(&mut self, listed: T) -> Option<Conflict> {
        let offer = listed.as_ref();
        let spelled = offer.path.as_str().trim_end_matches('/');
        let key = spelled.to_ascii_lowercase();
        let alone = matches!(offer.path, Pattern::Exact(_));
        if let Some(slot) = self.by_path.get(&*key) {
            let as_spelled = self.spelled.get(&*key).map_or(&*key, |spelled| spelled) == spelled;
            // Who has everything below a path, and came first, has the path itself.
            let taken = match (&slot.exact, &slot.below) {
                (Some(first), _) if alone || !as_spelled => Some(first),
                (_, below) => below.as_ref(),
            };
            if let Some(first) = taken {
                return Some(conflict(offer, Clash::Taken(first.as_ref().id.clone())));
            }
        } else if spelled != key {
            self.spelled.insert(key.as_str().into(), spelled.into());
        }
        self.depth = self.depth.max(depth(&key));
        let slot = self.by_path.entry(key.into()).or_default();
        if alone {
            slot.exact = Some(listed)
        } else {
            slot.below = Some(listed)
        }
        None
    }

    fn add_glob(&mut self, listed: T) -> Option<Conflict> {
        let offer = listed.as_ref();
        let pattern = offer.path.as_str();
        let folded = pattern.to_ascii_lowercase();
        let head = folded.find("/*").map_or(&*folded, |star| &folded[..star]);
        if let Some((_, slot)) = self.slots(head).find(|(_, slot)| slot.below.is_some())
            && let Some(owner) = &slot.below
        {
            return Some(conflict(offer, Clash::Hidden(owner.as_ref().id.clone())));
        }
        let (pattern, refused) = (pattern.to_owned(), conflict(offer, Clash::TooManyShapes));
        match self.globs.add(&pattern, listed) {
            Ok(()) => None,
            Err(Unfit::TooManyShapes) => Some(refused),
            Err(Unfit::Taken(first)) => {
                Some(Conflict { clash: Clash::Taken(first.as_ref().id.clone()), ..refused })
            }
        }
    }
}

fn conflict(offer: &Offer, clash: Clash) -> Conflict {
    Conflict { refused: offer.id.clone(), path: offer.path.clone(), clash }
}

impl<T> Table<T> {
    /// Who owns a path.
    fn find<'t: 'p, 'p>(&'t self, folded: &'p str) -> Hit<'p, 't, T> {
        // Segments of the path sold alone that keeps what is below it from others.
        let mut kept = None;
        for (key, slot) in self.slots(folded) {
            let place = Place::Path(self.spelled.get(key).map_or(key, |spelled| spelled));
            let rest = &folded[key.len()..];
            let is_it = rest.is_empty() || (key.is_empty() && rest == "/");
            let exact = if is_it { slot.exact.as_ref() } else { None };
            let below = if rest == "/" && slot.exact.is_some() { None } else { slot.below.as_ref() };
            if let Some(listed) = exact.or(below) {
                return Hit::Sold(place, listed);
            }
            // At the root there is nothing that it could be mistaken for.
            if !key.is_empty() {
                kept = Some(depth(key));
                break;
            }
        }
        match self.globs.find(folded, kept.unwrap_or(0)) {
            Match::Sold { spelled, listed } => Hit::Sold(Place::Glob(spelled), listed),
            Match::Kept => Hit::Kept,
            Match::Nothing if kept.is_some() => Hit::Kept,
            Match::Nothing => Hit::Nothing,
        }
    }

    /// What is sold at a path and above it, the deepest first.
    fn slots<'t, 'p>(&'t self, folded: &'p str) -> impl Iterator<Item = (&'p str, &'t Slot<T>)> {
        let mut slashes = folded.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        let deepest = slashes.nth(self.depth).map_or(folded, |(at, _)| &folded[..at]);
        let keys = std::iter::successors(Some(deepest), |key| key.rfind('/').map(|parent| &key[..parent]));
        keys.filter_map(|key| self.by_path.get(key).map(|slot| (key, slot)))
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        let at_paths = self.by_path.values().flat_map(|slot| slot.exact.iter().chain(&slot.below));
        at_paths.chain(self.globs.iter())
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
            let (_, conflicts) =
                Routes::compile([offer("alone", None, "/a!"), offer("second", None, second)]);
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
        for (path, name) in [("/", Some("root")), ("/x", Some("all")), ("/y/1/z", Some("any")), ("/z", None)]
        {
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
}
