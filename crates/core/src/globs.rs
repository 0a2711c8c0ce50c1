//! Patterns with a `*` in the place of a segment. They are kept by where their `*` are, so that a
//! lookup costs one hash for each such shape, however many patterns there are.

use std::collections::{HashMap, hash_map::Entry};

/// Shapes of one table: what a lookup costs at most, in hashes.
const MAX_SHAPES: usize = 16;

#[derive(Clone, Debug)]
pub(crate) struct Globs<T> {
    /// The most specific first.
    shapes: Vec<Shape<T>>,
}

#[derive(Clone, Debug)]
struct Shape<T> {
    /// Of each segment, but for a last `*`, whether it stands for any.
    any: Vec<bool>,
    /// Whether there is a last `*`, for one or more segments.
    open: bool,
    /// By the segments that stand for themselves, folded.
    by_words: HashMap<Box<str>, Kept<T>>,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    spelled: Box<str>,
    listed: T,
}

/// Why a pattern is not added.
#[derive(Debug)]
pub(crate) enum Unfit<'t, T> {
    Taken(&'t T),
    TooManyShapes,
}

/// What a path is to the patterns.
#[derive(Debug)]
pub(crate) enum Match<'t, T> {
    Sold {
        spelled: &'t str,
        listed: &'t T,
    },
    /// It is below a path that is sold alone, or is that path with a slash at its end.
    Kept,
    Nothing,
}

impl<T> Default for Globs<T> {
    fn default() -> Self {
        Self { shapes: Vec::new() }
    }
}

impl<T> Globs<T> {
    pub(crate) fn add(&mut self, pattern: &str, listed: T) -> Result<(), Unfit<'_, T>> {
        let segments: Vec<_> = pattern.split('/').skip(1).collect();
        let open = segments.last() == Some(&"*");
        let fixed = &segments[..segments.len() - usize::from(open)];
        let any: Vec<_> = fixed.iter().map(|segment| *segment == "*").collect();
        let at = match self.shapes.iter().position(|shape| shape.any == any && shape.open == open) {
            Some(at) => at,
            None if self.shapes.len() == MAX_SHAPES => return Err(Unfit::TooManyShapes),
            None => {
                let rank = rank(&any, open);
                let at = self.shapes.partition_point(|shape| shape.rank() < rank);
                self.shapes.insert(at, Shape { any, open, by_words: HashMap::new() });
                at
            }
        };
        let shape = &mut self.shapes[at];
        let folded: Vec<_> = fixed.iter().map(|segment| segment.to_ascii_lowercase()).collect();
        let words = words(&shape.any, folded.iter().map(String::as_str));
        match shape.by_words.entry(words.into()) {
            Entry::Vacant(free) => {
                free.insert(Kept { spelled: pattern.into(), listed });
                Ok(())
            }
            Entry::Occupied(taken) => Err(Unfit::Taken(&taken.into_mut().listed)),
        }
    }

    /// Only patterns with more than `deeper_than` segments count.
    pub(crate) fn find(&self, folded: &str, deeper_than: usize) -> Match<'_, T> {
        if self.shapes.is_empty() {
            return Match::Nothing;
        }
        let closed = folded.strip_suffix('/').unwrap_or(folded);
        let segments: Vec<_> = closed.split('/').skip(1).collect();
        for shape in &self.shapes {
            let fixed = shape.any.len();
            let fits = fixed > deeper_than && fixed + usize::from(shape.open) <= segments.len();
            if !fits {
                continue;
            }
            let words = words(&shape.any, segments.iter().copied());
            let Some(Kept { spelled, listed }) = shape.by_words.get(&*words) else { continue };
            let is_it = shape.open || (fixed == segments.len() && closed.len() == folded.len());
            return if is_it { Match::Sold { spelled, listed } } else { Match::Kept };
        }
        Match::Nothing
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shapes.iter().flat_map(|shape| shape.by_words.values().map(|kept| &kept.listed))
    }
}

impl<T> Shape<T> {
    fn rank(&self) -> Rank<'_> {
        rank(&self.any, self.open)
    }
}

/// Longer patterns come first, then those without an open end, then those whose first `*` is later.
type Rank<'a> = (std::cmp::Reverse<usize>, bool, &'a [bool]);

fn rank(any: &[bool], open: bool) -> Rank<'_> {
    (std::cmp::Reverse(any.len()), open, any)
}

/// The segments at which a shape has words.
fn words<'a>(any: &[bool], segments: impl Iterator<Item = &'a str>) -> String {
    let mut words = String::new();
    for (segment, _) in segments.zip(any).filter(|(_, any)| !**any) {
        words.push('/');
        words.push_str(segment);
    }
    words
}

/// Whether the words of a pattern stand in a path as they are spelled.
pub(crate) fn is_spelled_in(spelled: &str, path: &str) -> bool {
    spelled.split('/').zip(path.split('/')).all(|(word, segment)| word == "*" || word == segment)
}
