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
mod tests;
