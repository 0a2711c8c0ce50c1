//! The original's `pricing.yaml`: static routes, each of which is an offer.

mod defaults;
mod edit;
mod name;
mod pattern;
mod payments;
mod route;
mod spec;
mod watched;

use crate::{
    document::{self, Document, Outcome},
    fault::{Fault, Faults},
    folder::{Found, Limits},
    listing::Listing,
    node::{Node, SyntaxError},
    offer::Terms,
    read::{Located, Read},
};
use defaults::Defaults;
use obol_core::{OfferId, Registry};
use spec::{PricingSpec, RouteSpec};
use std::{path::Path, sync::Arc};

pub use edit::{PricingError, PricingField, set_pricing};
pub(crate) use watched::PricingFile;

/// Of a file with some thousand routes.
const MAX_NODES: usize = 200_000;

/// A file of static routes, as it is read now.
#[derive(Clone, Debug)]
pub struct Pricing {
    /// `wallet`, when it is there and good.
    pub wallet: Option<String>,
    /// `chain`, when it is there and good.
    pub chain: Option<String>,
    /// In the order of the file.
    pub routes: Vec<Found>,
    pub faults: Vec<Fault>,
    /// What is in the file and changes nothing.
    pub notes: Vec<Fault>,
}

/// What a file came to: itself, which is no offer, and a document for each route.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) documents: Vec<Document>,
    pub(crate) notes: Vec<Fault>,
    defaults: Defaults,
}

impl Pricing {
    /// Reads the routes of one text; `file` is named in faults.
    pub fn parse(text: &str, file: &Path, registry: &Registry, limits: &Limits) -> Self {
        let Routes { documents, notes, defaults } = read_all(text, file, registry, limits);
        let mut pricing = Self {
            wallet: defaults.wallet.read().map(|wallet| wallet.value.clone()),
            chain: defaults.chain.read().map(|chain| chain.value.clone()),
            routes: Vec::new(),
            faults: Vec::new(),
            notes,
        };
        let mut names = Listing::default();
        for document in documents {
            match document.outcome {
                Outcome::Sold { offer, line } => {
                    let found = Found { file: file.to_owned(), line, offer };
                    match names.claim(&found, Listing::ROUTE) {
                        Ok(()) => pricing.routes.push(found),
                        Err(fault) => pricing.faults.push(fault),
                    }
                }
                Outcome::Faulty { faults, .. } => pricing.faults.extend(faults),
                Outcome::PassedOver => {}
            }
        }
        pricing
    }
}

pub(crate) fn read_all(text: &str, file: &Path, registry: &Registry, limits: &Limits) -> Routes {
    let folder = file.parent().unwrap_or(Path::new(""));
    let terms = Terms { registry, limits, folder };
    let mut faults = Faults::new(file);
    let read = root(text, &mut faults).and_then(|root| PricingSpec::read(root, "", &mut faults));
    let Some(spec) = read else {
        return Routes {
            documents: vec![outcome(None, faults)],
            notes: Vec::new(),
            defaults: Defaults::none(),
        };
    };
    let mut notes = Faults::new(file);
    let defaults = Defaults::read(&spec, terms, &mut faults, &mut notes);
    let routes = spec.routes.read().map(|routes| routes.value.0.as_slice()).unwrap_or_default();
    let each = routes.iter().enumerate().map(|(index, node)| {
        let (mut faults, field) = (Faults::new(file), format!("routes[{index}]"));
        let line = node.line;
        let Some(value) = RouteSpec::read(spec::telling(node.clone()), &field, &mut faults) else {
            return outcome(None, faults);
        };
        let route = Located { value, line, field };
        let offer = route::make(&route, &defaults, terms, &mut faults);
        match offer {
            Some(offer) if faults.is_empty() => {
                Document { outcome: Outcome::Sold { offer: Arc::new(offer), line }, credential: None }
            }
            _ => outcome(name::of(&route.value), faults),
        }
    });
    let mut documents: Vec<_> = each.collect();
    documents.insert(0, outcome(None, faults));
    Routes { documents, notes: notes.into_vec(), defaults }
}

/// Of what is no offer, or none that can be sold.
fn outcome(id: Option<OfferId>, faults: Faults<'_>) -> Document {
    let outcome = match faults.is_empty() {
        true => Outcome::PassedOver,
        false => Outcome::Faulty { id, faults: faults.into_vec() },
    };
    Document { outcome, credential: None }
}

fn root(text: &str, faults: &mut Faults<'_>) -> Option<Node> {
    let mut roots = Vec::new();
    for (line, part) in document::split(text) {
        match Node::parse_within(part, line, MAX_NODES) {
            Ok(root) if root.is_null() => {}
            Ok(root) => roots.push(spec::telling(root)),
            Err(error) => {
                let SyntaxError { line, message } = without_secrets(error, text);
                faults.add(line, "", message);
                return None;
            }
        }
    }
    if let Some(second) = roots.get(1) {
        faults.add(second.line, "", "a second document begins here; keep all routes in one");
        return None;
    }
    if roots.is_empty() {
        faults.add(1, "", "is empty; write routes: [] if nothing is to be sold from it");
    }
    roots.pop()
}

/// A parser may quote what it does not understand, and that may be a credential.
fn without_secrets(error: SyntaxError, text: &str) -> SyntaxError {
    if !text.contains(spec::UPSTREAM_AUTH) {
        return error;
    }
    let message = "this line, or one before it, is not valid YAML; what is wrong is not quoted, since the file holds \
                   credentials";
    SyntaxError { line: error.line, message: message.to_owned() }
}
