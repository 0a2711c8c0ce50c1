//! From a route to an offer.

use super::{
    defaults::Defaults,
    name, pattern, payments,
    spec::{RouteSpec, Secret},
};
use crate::{
    credential,
    fault::Faults,
    names,
    offer::{self, Terms},
    read::{Entry, Located},
    upstream,
};
use obol_core::{Charge, Disconnect, Offer, Pattern, Upstream};
use std::time::Duration;

/// `None`, or any fault told, means that it is not sold.
pub(super) fn make(
    route: &Located<RouteSpec>,
    defaults: &Defaults,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Offer> {
    let spec = &route.value;
    unsupported(spec, faults);
    let path = path(route, faults);
    let id = name::read(spec, faults);
    let host = offer::host_of(&spec.hostname, faults);
    let description = offer::description_of(&spec.description, faults);
    let upstream = upstream(spec, path.as_ref(), faults);
    let accepts = payments::make_all(route, defaults, upstream.as_ref(), terms, faults);
    Some(Offer {
        id: id?,
        description: description?,
        host: host?,
        path: path?,
        upstream: upstream?,
        accepts: accepts?,
        charge: Charge::BeforeBody,
        on_disconnect: Disconnect::Release,
        paused: false,
        sunset: None,
    })
}

fn path(route: &Located<RouteSpec>, faults: &mut Faults<'_>) -> Option<Pattern> {
    let what = "say which paths are sold, such as /v1/* for all below /v1";
    let written = route.value.pattern.required(route, "pattern", what, faults)?;
    pattern::read(&written.value)
        .map_err(|why| written.refuse(faults, format!("{:?} {why}", written.value)))
        .ok()
}

fn upstream(spec: &RouteSpec, path: Option<&Pattern>, faults: &mut Faults<'_>) -> Option<Upstream> {
    let base = match &spec.upstream_url {
        Entry::Absent => Some(None),
        Entry::Refused => None,
        // The text is not repeated: what is refused may be a password.
        Entry::Read(url) => upstream::http_base(&url.value)
            .map_err(|why| {
                url.refuse(faults, why.replace("authorizationFile or authorizationEnv", "upstreamAuth"))
            })
            .map(Some)
            .ok(),
    };
    let strip = strip(spec, path, faults);
    let authorization = match &spec.upstream_auth {
        Entry::Absent => Some(None),
        Entry::Refused => None,
        Entry::Read(auth) => {
            let Secret(value) = &auth.value;
            credential::as_header(value).map_err(|why| auth.refuse(faults, why)).map(Some).ok()
        }
    };
    let header_timeout = Duration::from_secs(upstream::DEFAULT_TIMEOUT_SECONDS);
    Some(Upstream { base: base?, strip: strip?, authorization: authorization?, header_timeout })
}

fn strip(spec: &RouteSpec, path: Option<&Pattern>, faults: &mut Faults<'_>) -> Option<String> {
    let written = match &spec.strip_prefix {
        Entry::Absent => return Some(String::new()),
        Entry::Refused => return None,
        Entry::Read(written) => written,
    };
    let refuse = |why: String, faults: &mut Faults<'_>| {
        written.refuse(faults, format!("{:?} {why}", written.value));
        None
    };
    let prefix = match names::sold_path(&written.value) {
        Ok(prefix) => prefix.trim_end_matches('/').to_owned(),
        Err(why) => return refuse(why, faults),
    };
    let head = pattern::head(path?);
    let rest = head.strip_prefix(&prefix);
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Some(prefix);
    }
    refuse(
        "is not what each path of the pattern begins with; write a beginning of the pattern".to_owned(),
        faults,
    )
}

/// Fields of later versions that say what obol does not do.
fn unsupported(spec: &RouteSpec, faults: &mut Faults<'_>) {
    let only_paid =
        "only paid routes are sold; leave the route out, and have the proxy in front serve the path";
    if let Some(gate) = spec.gate.read().filter(|gate| gate.value != "paid") {
        gate.refuse(faults, format!("is {:?}: {only_paid}", gate.value));
    }
    if let Some(quota) = spec.free_quota.read().filter(|quota| quota.value != 0) {
        quota.refuse(faults, "nothing is given away: every request is paid for; leave it out");
    }
    let in_turn = "a paid request is answered while its client waits; leave it out";
    if let Some(deferred) = spec.is_async.read().filter(|deferred| deferred.value) {
        deferred.refuse(faults, in_turn);
    }
    let texts = [(&spec.broker_url, ""), (&spec.async_ttl, "72h"), (&spec.async_visibility, "payer")];
    for (entry, usual) in texts {
        if let Some(text) = entry.read().filter(|text| text.value != usual) {
            text.refuse(faults, in_turn);
        }
    }
}
