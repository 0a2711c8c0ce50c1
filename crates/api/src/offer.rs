use crate::{
    charge, drain,
    fault::Faults,
    folder::Limits,
    manifest::{Entry, Located, Metadata, ServiceOffer, Spec},
    names, payment, upstream,
};
use obol_core::{Disconnect, FACILITATOR_NAMESPACE, Offer, OfferId, Pattern, Registry, Upstream};
use std::path::Path;

/// What an offer is made under: the same for every document of a folder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) limits: &'a Limits,
    /// Where relative paths of credentials begin.
    pub(crate) folder: &'a Path,
}

pub(crate) const PAUSED: &str = "obol.org/paused";
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
/// The description travels in a header of every challenge, and clients bound their headers.
const MAX_DESCRIPTION: usize = 1_000;

/// Makes the offer that a document means. `None`, or any fault told, means that it is not sold.
pub(crate) fn make(
    manifest: &Located<ServiceOffer>,
    terms: Terms<'_>,
    faults: &mut Faults<'_>,
) -> Option<Offer> {
    let document = &manifest.value;
    let what = "give at least metadata.name";
    let metadata = document.metadata.required(manifest, "metadata", what, faults);
    let id = metadata.and_then(|metadata| identity(metadata, faults));
    let paused = metadata.and_then(|metadata| paused(&metadata.value, faults));
    let spec = document.spec.required(manifest, "spec", "say what is sold: upstream and payment", faults)?;
    unsupported(&spec.value, faults);
    let upstream = upstream::make(spec, id.as_ref(), terms.folder, faults);
    let path = path(&spec.value, id.as_ref(), faults);
    let host = host(&spec.value, faults);
    let description = description(&spec.value, faults);
    let accepts = payment::make_all(spec, upstream.as_ref(), terms, faults);
    let charge = charge::make(&spec.value.charge, accepts.as_deref(), faults);
    let sunset = drain::sunset(&spec.value, faults);
    let path = path?;
    let strip = path.trim_end_matches('/').to_owned();
    Some(Offer {
        id: id?,
        description: description?,
        host: host?,
        path: Pattern::Below(path),
        upstream: Upstream { strip, ..upstream? },
        accepts: accepts?,
        charge: charge?,
        on_disconnect: on_disconnect(&spec.value),
        paused: paused?,
        sunset: sunset?,
    })
}

fn identity(metadata: &Located<Metadata>, faults: &mut Faults<'_>) -> Option<OfferId> {
    let what = "give the offer a name, such as demo-hello";
    let name = metadata.value.name.required(metadata, "name", what, faults);
    let name = name.and_then(|name| label(name, faults));
    let namespace = match &metadata.value.namespace {
        Entry::Absent => Some(DEFAULT_NAMESPACE.to_owned()),
        Entry::Refused => None,
        Entry::Read(namespace) => namespace_of(namespace, faults),
    };
    Some(OfferId { namespace: namespace?, name: name? })
}

pub(crate) fn namespace_of(namespace: &Located<String>, faults: &mut Faults<'_>) -> Option<String> {
    if namespace.value == FACILITATOR_NAMESPACE {
        namespace
            .refuse(faults, "is where a facilitator's ledger keeps what it settles for others; give another");
        return None;
    }
    label(namespace, faults)
}

pub(crate) fn label(text: &Located<String>, faults: &mut Faults<'_>) -> Option<String> {
    if obol_core::is_label(&text.value) {
        return Some(text.value.clone());
    }
    let rule = "lower-case letters, digits and hyphens, at most 63, beginning and ending with no hyphen";
    text.refuse(faults, format!("{:?} is not a DNS label ({rule})", text.value));
    None
}

fn paused(metadata: &Metadata, faults: &mut Faults<'_>) -> Option<bool> {
    let annotations = match &metadata.annotations {
        Entry::Absent => return Some(false),
        Entry::Refused => return None,
        Entry::Read(annotations) => annotations,
    };
    let Some(annotation) = annotations.value.get(PAUSED) else { return Some(false) };
    match annotation.value.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        other => {
            annotation.refuse(faults, format!("{other:?} is neither \"true\" nor \"false\""));
            None
        }
    }
}

/// Fields that load, but that obol has to act on before the offer may be sold.
fn unsupported(spec: &Spec, faults: &mut Faults<'_>) {
    if let (Some(agent), Entry::Absent) = (spec.agent.read(), &spec.upstream) {
        agent.refuse(faults, "an agent is found on Kubernetes only; say where it runs in spec.upstream");
    }
    if let Some(model) = spec.model.read() {
        model.value.name.required(model, "name", "name the model, or leave model out", faults);
    }
    if let Some(registration) = spec.registration.read() {
        let services = registration.value.services.read().map(|services| services.value.as_slice());
        for service in services.unwrap_or_default() {
            service.value.name.required(service, "name", "name the service", faults);
            service.value.endpoint.required(service, "endpoint", "give the service's URL", faults);
        }
    }
}

fn path(spec: &Spec, id: Option<&OfferId>, faults: &mut Faults<'_>) -> Option<String> {
    match &spec.path {
        Entry::Absent => id.map(|id| format!("/services/{}", id.name)),
        Entry::Refused => None,
        Entry::Read(path) => match names::sold_path(&path.value) {
            Ok(sold) => Some(sold),
            Err(why) => {
                path.refuse(faults, format!("{:?} {why}", path.value));
                None
            }
        },
    }
}

fn host(spec: &Spec, faults: &mut Faults<'_>) -> Option<Option<String>> {
    host_of(&spec.hostname, faults)
}

pub(crate) fn host_of(hostname: &Entry<String>, faults: &mut Faults<'_>) -> Option<Option<String>> {
    match hostname {
        Entry::Absent => Some(None),
        Entry::Refused => None,
        Entry::Read(hostname) => match names::host_name(&hostname.value) {
            Ok(host) => Some(Some(host)),
            Err(why) => {
                hostname.refuse(faults, format!("{:?} is not a host name: {why}", hostname.value));
                None
            }
        },
    }
}

fn description(spec: &Spec, faults: &mut Faults<'_>) -> Option<String> {
    let registered = || match spec.registration.read() {
        Some(registration) => &registration.value.description,
        None => &Entry::Absent,
    };
    let described = if spec.description.is_absent() { registered() } else { &spec.description };
    description_of(described, faults)
}

pub(crate) fn description_of(described: &Entry<String>, faults: &mut Faults<'_>) -> Option<String> {
    match described {
        Entry::Absent => Some(String::new()),
        Entry::Refused => None,
        Entry::Read(text) if text.value.chars().count() > MAX_DESCRIPTION => {
            text.refuse(faults, format!("is longer than {MAX_DESCRIPTION} characters; shorten it"));
            None
        }
        Entry::Read(text) => Some(text.value.trim().to_owned()),
    }
}

fn on_disconnect(spec: &Spec) -> Disconnect {
    use crate::manifest::OnDisconnect::{Charge, Release};
    match spec.on_disconnect.read().map(|word| word.value) {
        Some(Charge) => Disconnect::Charge,
        Some(Release) | None => Disconnect::Release,
    }
}
