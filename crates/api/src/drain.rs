//! The end of an offer that is announced: from when it drains, and for how long it is sold on.

use crate::{
    fault::Faults,
    manifest::{Entry, Spec},
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a drained offer is sold on when it does not say.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3_600);

/// Longer ones are mistakes.
const LONGEST_GRACE: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The first moment that cannot be told in a header: the year 10000.
const END_OF_DATES: u64 = 253_402_300_800;

/// Why a text is not a span of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraceError {
    #[error("{0:?} is not a span of time such as 1h, 90s or 1h30m")]
    Malformed(String),
    #[error("{0:?} is longer than a year")]
    TooLong(String),
}

/// Reads a duration as Go writes it: numbers with their units, the largest first as a rule.
pub fn parse_grace(text: &str) -> Result<Duration, GraceError> {
    let malformed = || GraceError::Malformed(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(malformed());
    }
    let (mut total, mut rest) = (0u128, text);
    while !rest.is_empty() {
        let ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(malformed)?;
        let (number, tail) = rest.split_at(ends);
        let ends = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(ends);
        let nanos = nanos(number, unit).ok_or_else(malformed)?;
        total = total.checked_add(nanos).ok_or_else(malformed)?;
        rest = tail;
    }
    if total > LONGEST_GRACE.as_nanos() {
        return Err(GraceError::TooLong(text.to_owned()));
    }
    // A year has fewer nanoseconds than an u64 holds.
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| malformed())
}

fn nanos(number: &str, unit: &str) -> Option<u128> {
    let unit: u128 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let read = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    read(whole)?.checked_mul(unit)?.checked_add(read(fraction)?.checked_mul(unit)? / scale)
}

/// A moment as RFC 3339 writes it.
fn moment(text: &str) -> Option<SystemTime> {
    let text = &text.replacen('t', "T", 1);
    if let Some(utc) = text.strip_suffix(['Z', 'z']) {
        return humantime::parse_rfc3339(&format!("{utc}Z")).ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let (east, offset) = match offset.strip_prefix('+') {
        Some(offset) => (true, offset),
        None => (false, offset.strip_prefix('-')?),
    };
    let (hours, minutes) = offset.split_once(':')?;
    let part = |text: &str, most: u64| -> Option<u64> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse().ok().filter(|part| *part <= most) } else { None }
    };
    let shift = Duration::from_secs(part(hours, 23)? * 3_600 + part(minutes, 59)? * 60);
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    if east { local.checked_sub(shift) } else { local.checked_add(shift) }
}

/// From when a draining offer is not sold any more; the inner none when it does not drain.
pub(crate) fn sunset(spec: &Spec, faults: &mut Faults<'_>) -> Option<Option<SystemTime>> {
    let grace = match &spec.drain_grace_period {
        Entry::Absent => Some(DEFAULT_GRACE),
        Entry::Refused => None,
        Entry::Read(text) => {
            parse_grace(&text.value).map_err(|error| text.refuse(faults, error.to_string())).ok()
        }
    };
    let written = match &spec.drain_at {
        Entry::Absent => return grace.map(|_| None),
        Entry::Refused => return None,
        Entry::Read(written) => written,
    };
    let Some(from) = moment(&written.value) else {
        let why = format!("{:?} is not a date and time such as 2026-11-26T05:00:00Z", written.value);
        written.refuse(faults, why);
        return None;
    };
    let end = UNIX_EPOCH + Duration::from_secs(END_OF_DATES);
    let Some(sunset) = from.checked_add(grace?).filter(|sunset| *sunset < end) else {
        written.refuse(faults, "is beyond the year 9999; write when the offer ends");
        return None;
    };
    Some(Some(sunset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_read_as_go_writes_it() {
        let seconds = Duration::from_secs;
        for (text, grace) in [
            ("1h", seconds(3_600)),
            ("1h0m0s", seconds(3_600)),
            ("90s", seconds(90)),
            ("1h30m", seconds(5_400)),
            ("1.5h", seconds(5_400)),
            (".5s", Duration::from_millis(500)),
            ("250ms", Duration::from_millis(250)),
            ("3\u{b5}s5ns", Duration::from_nanos(3_005)),
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("8784h", LONGEST_GRACE),
        ] {
            assert_eq!(parse_grace(text), Ok(grace), "{text}");
        }
        for text in
            ["", "1", "h", "-1h", "+1h", "1 h", "1d", "1h 30m", "1..5h", ".h", "1e3s", "1H", "\u{663}s"]
        {
            assert_eq!(parse_grace(text), Err(GraceError::Malformed(text.to_owned())), "{text}");
        }
        for text in ["8785h", "999999999999999999h"] {
            assert_eq!(parse_grace(text), Err(GraceError::TooLong(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_moment_is_the_same_in_every_zone() {
        let at = moment("2026-11-26T05:00:00Z");
        assert_eq!(at, Some(UNIX_EPOCH + Duration::from_secs(1_795_669_200)));
        for text in ["2026-11-26t05:00:00z", "2026-11-26T07:30:00+02:30", "2026-11-25T21:00:00-08:00"] {
            assert_eq!(moment(text), at, "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-26",
            "2026-11-26T05:00:00",
            "2026-11-26T05:00Z",
            "2026-13-26T05:00:00Z",
            "2026-11-26T25:00:00Z",
            "2026-11-26T05:00:00+2:30",
            "2026-11-26T05:00:00+02:60",
            "2026-11-26T05:00:00*02:00",
            "2026-11-26T05:00:00+0230",
            "1795669200",
            "\u{663}\u{663}\u{663}:\u{663}",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
