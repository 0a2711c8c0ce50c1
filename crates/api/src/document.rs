use crate::{
    credential::Credential,
    fault::{Fault, Faults},
    folder::{Found, Limits, Loaded},
    listing::Listing,
    manifest::{API_VERSION, Located, ServiceOffer},
    node::{Node, Value},
    offer::{self, Terms},
    read::Read,
    suggest::did_you_mean,
};
use obol_core::{Offer, OfferId, Registry};
use std::{path::Path, sync::Arc};

/// Kinds of obol that are no offers; they may lie in the same folder.
const PASSED_OVER: [&str; 4] = ["PurchaseRequest", "RegistrationRequest", "Agent", "AgentIdentity"];
const KIND: &str = "ServiceOffer";

/// What one document of a file came to.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) outcome: Outcome,
    /// The file that it takes its credential from.
    pub(crate) credential: Option<Credential>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Sold {
        offer: Arc<Offer>,
        line: u32,
    },
    /// `id` when at least the name could be read. `faults` is never empty.
    Faulty {
        id: Option<OfferId>,
        faults: Vec<Fault>,
    },
    /// Another kind of obol's.
    PassedOver,
}

impl Document {
    pub(crate) fn sold(&self) -> Option<&OfferId> {
        match &self.outcome {
            Outcome::Sold { offer, .. } => Some(&offer.id),
            Outcome::Faulty { .. } | Outcome::PassedOver => None,
        }
    }

    fn without_credential(outcome: Outcome) -> Self {
        Self { outcome, credential: None }
    }
}

/// Reads the documents of one text. `file` is named in faults, and the paths of credentials are
/// relative to its folder. Of two documents with the same name the first is sold.
pub fn parse(text: &str, file: &Path, registry: &Registry, limits: &Limits) -> Loaded {
    let documents = read_all(text, file, registry, limits);
    let mut loaded = Loaded { offers: Vec::new(), faults: Vec::new(), notes: Vec::new() };
    let mut listing = Listing::default();
    for document in documents {
        match document.outcome {
            Outcome::Sold { offer, line } => {
                listing.add(&mut loaded, Found { file: file.to_owned(), line, offer }, Listing::MANIFEST);
            }
            Outcome::Faulty { faults, .. } => loaded.faults.extend(faults),
            Outcome::PassedOver => {}
        }
    }
    loaded
}

/// Empty documents are left out.
pub(crate) fn read_all(text: &str, file: &Path, registry: &Registry, limits: &Limits) -> Vec<Document> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let terms = Terms { registry, limits, folder };
    split(text).into_iter().filter_map(|(line, text)| read(text, line, file, terms)).collect()
}

/// The documents of a text and the lines at which they begin. A line that begins with three
/// hyphens ends a document whatever it is in the middle of, so that a document that is no YAML
/// leaves the others whole.
pub(crate) fn split(text: &str) -> Vec<(u32, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if at > start && is_marker(line) {
            documents.push((start_line, &text[start..at]));
            (start, start_line) = (at, number);
        }
        at += line.len();
    }
    documents.push((start_line, &text[start..]));
    documents
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn read(text: &str, line: u32, file: &Path, terms: Terms<'_>) -> Option<Document> {
    let mut faults = Faults::new(file);
    let root = match Node::parse(text, line) {
        Ok(root) if root.is_null() => return None,
        Ok(root) => root,
        Err(error) => {
            faults.add(error.line, "", error.message);
            let outcome = Outcome::Faulty { id: None, faults: faults.into_vec() };
            return Some(Document::without_credential(outcome));
        }
    };
    Some(match kind(&root, &mut faults) {
        Kind::ServiceOffer => read_offer(root, terms, faults),
        Kind::Other => Document::without_credential(Outcome::PassedOver),
        Kind::Unknown => {
            Document::without_credential(Outcome::Faulty { id: None, faults: faults.into_vec() })
        }
    })
}

fn read_offer(root: Node, terms: Terms<'_>, mut faults: Faults<'_>) -> Document {
    let line = root.line;
    let (id, name_line) = identity(&root);
    let manifest = ServiceOffer::read(root, "", &mut faults);
    let manifest = manifest.map(|value| Located { value, line, field: String::new() });
    // Stamped before it is read: a change between the two is found by the next pass.
    let credential = manifest.as_ref().and_then(|manifest| Credential::of(&manifest.value, terms.folder));
    let offer = manifest.and_then(|manifest| offer::make(&manifest, terms, &mut faults));
    let outcome = match offer {
        Some(offer) if faults.is_empty() => {
            Outcome::Sold { offer: Arc::new(offer), line: name_line.unwrap_or(line) }
        }
        _ => Outcome::Faulty { id, faults: faults.into_vec() },
    };
    Document { outcome, credential }
}

enum Kind {
    ServiceOffer,
    Other,
    /// The fault has been told.
    Unknown,
}

fn kind(root: &Node, faults: &mut Faults<'_>) -> Kind {
    if !matches!(root.value, Value::Map(_)) {
        let what =
            format!("a manifest is a map with apiVersion, kind, metadata and spec, not {}", root.kind());
        faults.add(root.line, "", what);
        return Kind::Unknown;
    }
    let word = |name| root.get(name).map(|(line, node)| (line, node.text().unwrap_or(node.kind())));
    match word("apiVersion") {
        Some((_, API_VERSION)) => {}
        Some((line, other)) => {
            faults.add(line, "apiVersion", format!("{other:?} is not read here; write {API_VERSION}"));
            return Kind::Unknown;
        }
        None => {
            faults.add(root.line, "apiVersion", format!("is missing: write {API_VERSION}"));
            return Kind::Unknown;
        }
    }
    match word("kind") {
        Some((_, KIND)) => Kind::ServiceOffer,
        Some((_, other)) if PASSED_OVER.contains(&other) => Kind::Other,
        Some((line, other)) => {
            let meant = did_you_mean(other, [KIND].into_iter().chain(PASSED_OVER));
            faults.add(
                line,
                "kind",
                format!("{other:?} is not a kind of {API_VERSION}; offers are {KIND}{meant}"),
            );
            Kind::Unknown
        }
        None => {
            faults.add(root.line, "kind", format!("is missing: write {KIND}"));
            Kind::Unknown
        }
    }
}

/// The name that a document claims, also when the rest of it is no good, and the name's line.
pub(crate) fn identity(root: &Node) -> (Option<OfferId>, Option<u32>) {
    let metadata = root.get("metadata").map(|(_, metadata)| metadata);
    let Some((line, name)) = metadata.and_then(|metadata| metadata.get("name")) else { return (None, None) };
    let namespace = match metadata.and_then(|metadata| metadata.get("namespace")) {
        Some((_, node)) if !node.is_null() => node.text(),
        _ => Some(offer::DEFAULT_NAMESPACE),
    };
    let sound = |text: Option<&str>| text.filter(|text| obol_core::is_label(text)).map(str::to_owned);
    let id = sound(namespace).zip(sound(name.text())).map(|(namespace, name)| OfferId { namespace, name });
    (id, Some(line))
}
