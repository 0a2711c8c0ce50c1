use crate::{
    credential,
    fault::Faults,
    manifest::{Entry, Located, Spec, UpstreamSpec},
    offer::label,
};
use http::Uri;
use obol_core::{OfferId, Upstream};
use std::{path::Path, time::Duration};

const DEFAULT_PORT: u64 = 11434;
pub(crate) const DEFAULT_TIMEOUT_SECONDS: u64 = 60;
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

pub(crate) fn make(
    spec: &Located<Spec>,
    id: Option<&OfferId>,
    folder: &Path,
    faults: &mut Faults<'_>,
) -> Option<Upstream> {
    // The missing upstream of an agent is told as the agent's.
    if spec.value.agent.read().is_some() && spec.value.upstream.is_absent() {
        return None;
    }
    let what = "give the service's url, such as http://127.0.0.1:9000";
    let upstream = spec.value.upstream.required(spec, "upstream", what, faults)?;
    let base = base(upstream, id, faults);
    let header_timeout = header_timeout(&upstream.value, faults);
    let authorization = credential::read(&upstream.value, folder, faults);
    health_path(&upstream.value, faults);
    Some(Upstream {
        base: Some(base?),
        // Known when the path is.
        strip: String::new(),
        authorization: authorization?,
        header_timeout: header_timeout?,
    })
}

fn base(upstream: &Located<UpstreamSpec>, id: Option<&OfferId>, faults: &mut Faults<'_>) -> Option<String> {
    let written = &upstream.value;
    match (&written.url, &written.service) {
        (Entry::Refused, _) | (_, Entry::Refused) => None,
        (Entry::Absent, Entry::Absent) => {
            upstream.lacks(faults, "url", "give url, or service, namespace and port of a cluster's service");
            None
        }
        (Entry::Absent, Entry::Read(service)) => service_base(service, written, id, faults),
        (Entry::Read(url), service) => {
            let said_twice = [
                service.read().map(|field| (field.line, &field.field)),
                written.namespace.read().map(|field| (field.line, &field.field)),
                written.port.read().map(|field| (field.line, &field.field)),
            ];
            for (line, field) in said_twice.into_iter().flatten() {
                faults.add(line, field.as_str(), "does not go with url; keep one of the two");
            }
            match http_base(&url.value) {
                Ok(base) => Some(base),
                Err(why) => {
                    // The text is not repeated: what is refused may be a password.
                    url.refuse(faults, why);
                    None
                }
            }
        }
    }
}

/// Origin and base path without trailing slash, or why the gate cannot forward there.
pub(crate) fn http_base(text: &str) -> Result<String, &'static str> {
    let (scheme, rest) =
        text.split_once("://").ok_or("must be a URL with its scheme, such as http://127.0.0.1:9000")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("must be http or https");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must hold no user or password; give them as authorizationFile or authorizationEnv");
    }
    if rest.contains('?') || rest.contains('#') {
        return Err("must have neither query nor fragment: a request brings its own");
    }
    let uri: Uri = format!("{scheme}://{rest}").parse().map_err(|_| "is not a URL")?;
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err("names no host");
    }
    let after_host = authority.strip_prefix(host).ok_or("is not a URL")?;
    let port_is_sound = after_host.is_empty() || uri.port_u16().is_some_and(|port| port != 0);
    if !port_is_sound {
        return Err("has a port that is not between 1 and 65535");
    }
    let path = uri.path();
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("holds a dot segment; write the path that is meant");
    }
    Ok(format!("{scheme}://{authority}{}", path.trim_end_matches('/')))
}

fn service_base(
    service: &Located<String>,
    upstream: &UpstreamSpec,
    id: Option<&OfferId>,
    faults: &mut Faults<'_>,
) -> Option<String> {
    let name = label(service, faults);
    let namespace = match &upstream.namespace {
        Entry::Absent => id.map(|id| id.namespace.clone()),
        Entry::Refused => None,
        Entry::Read(namespace) => label(namespace, faults),
    };
    let port = match &upstream.port {
        Entry::Absent => Some(DEFAULT_PORT),
        Entry::Refused => None,
        Entry::Read(port) if (1..=65535).contains(&port.value) => Some(port.value),
        Entry::Read(port) => {
            port.refuse(faults, format!("{} is not a port (1 to 65535)", port.value));
            None
        }
    };
    Some(format!("http://{}.{}.svc.cluster.local:{}", name?, namespace?, port?))
}

fn header_timeout(upstream: &UpstreamSpec, faults: &mut Faults<'_>) -> Option<Duration> {
    match &upstream.timeout_seconds {
        Entry::Absent => Some(Duration::from_secs(DEFAULT_TIMEOUT_SECONDS)),
        Entry::Refused => None,
        Entry::Read(seconds) if TIMEOUT_SECONDS.contains(&seconds.value) => {
            Some(Duration::from_secs(seconds.value))
        }
        Entry::Read(seconds) => {
            seconds.refuse(faults, format!("{} is not between 1 and 3600 seconds", seconds.value));
            None
        }
    }
}

fn health_path(upstream: &UpstreamSpec, faults: &mut Faults<'_>) {
    if let Some(path) = upstream.health_path.read()
        && !path.value.starts_with('/')
    {
        path.refuse(faults, format!("{:?} must begin with a slash, such as /health", path.value));
    }
}
