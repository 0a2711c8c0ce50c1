use crate::names;
use obol_core::{MAX_DEPTH, Pattern};

/// The paths that a route stands for, or why it stands for none.
pub(super) fn read(text: &str) -> Result<Pattern, String> {
    let Some(first) = text.find('*') else {
        if text.len() > 1 && text.ends_with('/') {
            let path = text.trim_end_matches('/');
            return Err(format!(
                "ends in a slash; write {path} for that path alone, or {path}/* for all below it"
            ));
        }
        return names::sold_path(text).map(Pattern::Exact);
    };
    if let Some(path) = text.strip_suffix("/*")
        && first == path.len() + 1
    {
        let path = if path.is_empty() { "/" } else { path };
        if path.len() > 1 && path.ends_with('/') {
            return Err("holds an empty segment (//); write one slash".to_owned());
        }
        return names::sold_path(path).map(Pattern::Below);
    }
    glob(text, first).map(Pattern::Glob)
}

fn glob(text: &str, first: usize) -> Result<String, String> {
    if text.split('/').any(|segment| segment.contains('*') && segment != "*") {
        return Err(
            "has a * beside other letters; it stands for a whole segment, such as /v1/*/chat".to_owned()
        );
    }
    if text.ends_with('/') {
        return Err("ends in a slash; leave it out".to_owned());
    }
    if text.matches('/').count() > MAX_DEPTH {
        return Err(format!("has more segments than {MAX_DEPTH}"));
    }
    // Words in the places of the *, which are judged as a path's.
    names::sold_path(&text.replace('*', "x"))?;
    let head = &text[..first];
    if head.len() > 1 {
        names::sold_path(head)?;
    }
    Ok(text.to_owned())
}

/// What a pattern's paths begin with, in whole segments; empty when that is nothing.
pub(super) fn head(pattern: &Pattern) -> &str {
    let text = pattern.as_str();
    let head = match pattern {
        Pattern::Below(_) | Pattern::Exact(_) => text,
        Pattern::Glob(_) => text.find("/*").map_or(text, |star| &text[..star]),
    };
    head.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_path_alone_all_below_one_or_has_stars_for_segments() {
        for (text, pattern) in [
            ("/a/b", Pattern::Exact("/a/b".to_owned())),
            ("/", Pattern::Exact("/".to_owned())),
            ("/a/*", Pattern::Below("/a".to_owned())),
            ("/*", Pattern::Below("/".to_owned())),
            ("/v1/*/chat", Pattern::Glob("/v1/*/chat".to_owned())),
            ("/*/*", Pattern::Glob("/*/*".to_owned())),
            ("/v1/*/files/*", Pattern::Glob("/v1/*/files/*".to_owned())),
        ] {
            assert_eq!(read(text).as_ref(), Ok(&pattern), "{text}");
        }
    }

    #[test]
    fn what_readers_could_take_for_another_pattern_is_refused() {
        for (text, says) in [
            ("a/b", "begin with a slash"),
            ("*", "begin with a slash"),
            ("/a/", "write /a for that path alone, or /a/* for all below it"),
            ("/a*", "stands for a whole segment"),
            ("/a/gpt-*/b", "stands for a whole segment"),
            ("/a/**", "stands for a whole segment"),
            ("/a/*/", "ends in a slash"),
            ("/a/*/b/", "ends in a slash"),
            ("/a//b", "empty segment"),
            ("/a//*", "empty segment"),
            ("/a/*//b", "empty segment"),
            ("/a/../b", "dot segment"),
            ("/a/./*", "dot segment"),
            ("/a/[bc]/d", "letters, digits"),
            ("/a/?/d", "letters, digits"),
            ("/a/%2e%2e/*", "letters, digits"),
            ("/a/*/b;c", "letters, digits"),
            ("/verify", "the verifier's own"),
            ("/Verify/*", "the verifier's own"),
            ("/receipts/*/x", "the verifier's own"),
        ] {
            let refused = read(text).expect_err(text);
            assert!(refused.contains(says), "{text}: {refused}");
        }
        let deep = |segments: usize| format!("{}/*/x", "/a".repeat(segments));
        assert!(read(&deep(30)).is_ok() && read(&deep(31)).is_err());
    }
}
