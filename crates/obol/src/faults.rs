//! What is wrong with settings, gathered so that all of it is told at once: whoever mends one
//! should not have to start again to hear of the next.

use crate::exit::Failure;
use std::{env, fmt, ops::RangeInclusive, str::FromStr, time::Duration};

#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    pub(crate) fn add(&mut self, flag: &str, why: impl fmt::Display) {
        self.0.push(format!("{}: {why}", named(flag)));
    }

    /// The value, or none and one fault more.
    pub(crate) fn sift<T>(&mut self, flag: &str, read: Result<T, impl fmt::Display>) -> Option<T> {
        read.map_err(|why| self.add(flag, why)).ok()
    }

    /// Those values that are right.
    pub(crate) fn sift_each<T, E: fmt::Display>(
        &mut self,
        flag: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        words(texts).filter_map(|text| self.sift(flag, read(text))).collect()
    }

    /// What was read, when nothing was wrong with any of it.
    pub(crate) fn settle<T>(self, read: Option<T>) -> Result<T, Failure> {
        match read {
            Some(read) => self.none().map(|()| read),
            None => Err(self.into()),
        }
    }

    pub(crate) fn none(self) -> Result<(), Failure> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::settings(faults.0)
    }
}

/// A list from the environment may have more spaces between its values than one.
pub(crate) fn words(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// The flag, and its variable where that is set: the value may have come from there.
fn named(flag: &str) -> String {
    let variable = format!("OBOL_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
    match env::var_os(&variable) {
        Some(_) => format!("{flag} ({variable})"),
        None => flag.to_owned(),
    }
}

pub(crate) fn number<T>(text: &str, range: RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{text:?} is not a whole number from {} to {}", range.start(), range.end()))
}

pub(crate) fn seconds(
    flag: &str,
    text: &str,
    range: RangeInclusive<u64>,
    faults: &mut Faults,
) -> Option<Duration> {
    faults.sift(flag, number(text, range)).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_and_within_its_range() {
        assert_eq!(number("5", 0..=300), Ok(5));
        for text in ["", "-1", "1.5", "301", "5 s", "99999999999999999999999"] {
            let refused = number::<u64>(text, 0..=300).expect_err(text);
            assert!(refused.ends_with("is not a whole number from 0 to 300"), "{refused}");
        }
    }

    #[test]
    fn a_list_with_a_fault_gives_the_rest_of_it() {
        let mut faults = Faults::default();
        let texts = ["1", "", "two", " 3 "].map(str::to_owned);
        assert_eq!(faults.sift_each("--n", &texts, |text| number(text, 0..=9)), [1, 3]);
        assert_eq!(faults.0, ["--n: \"two\" is not a whole number from 0 to 9"]);
    }
}
