//! Names, host names and paths: what may stand in a route.

use obol_core::{MAX_DEPTH, OWN_PATHS, is_label};

/// Lower case, or why it is no host name.
pub(crate) fn host_name(text: &str) -> Result<String, &'static str> {
    if text.contains(':') {
        return Err("leave scheme and port out: requests are matched by host name alone");
    }
    if text.contains('*') {
        return Err("wildcards are not sold; write one host name, or leave hostname out for every host");
    }
    let lower = text.to_ascii_lowercase();
    let is_name = (1..=253).contains(&lower.len()) && lower.split('.').all(is_label);
    match is_name {
        true => Ok(lower),
        false => Err("write a plain host name such as shop.example.com (letters, digits, hyphens, dots)"),
    }
}

/// The path under which an offer is sold, without a trailing slash, or why it cannot be one.
pub(crate) fn sold_path(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
    if !text.starts_with('/') {
        return Err("must begin with a slash".to_owned());
    }
    if !text.bytes().all(allowed) {
        return Err("may hold letters, digits and / _ . - only".to_owned());
    }
    if text.contains("//") {
        return Err("holds an empty segment (//); write one slash".to_owned());
    }
    if text.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("holds a dot segment; write the path that is meant".to_owned());
    }
    let first = text.split('/').nth(1).unwrap_or_default();
    if OWN_PATHS.iter().any(|own| first.eq_ignore_ascii_case(own)) {
        return Err(format!(
            "is the verifier's own: it answers /{} itself; sell elsewhere",
            first.to_lowercase()
        ));
    }
    let trimmed = text.trim_end_matches('/');
    let depth = trimmed.bytes().filter(|&byte| byte == b'/').count();
    if depth > MAX_DEPTH {
        return Err(format!("has {depth} segments; at most {MAX_DEPTH} are sold"));
    }
    Ok(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() })
}
