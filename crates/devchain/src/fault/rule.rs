use super::call::Call;
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

/// Something that endpoints do wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reads the request and never answers. The node does not see it.
    Hang,
    /// Closes the connection. The node does not see the request.
    Disconnect,
    /// Passes the request on, then closes the connection instead of answering.
    LoseAnswer,
    /// Passes the request on, then never answers.
    HangAfter,
    /// Passes the request on after a while.
    Delay(Duration),
    /// Answers with an HTTP status, such as 429 or 500. The node does not see the request.
    Status(u16),
    /// Answers with a web page and status 200, as captive portals do.
    Html,
    /// Answers the call with a JSON-RPC error. The node does not see it.
    Refuse { code: i64, message: String },
    /// Answers the call with this result. The node does not see it.
    Answer(Value),
    /// Answers as a node would that has seen no block after this one. Transactions pass.
    StaleAt(u64),
    /// Has no block of this height, though it has later ones.
    Lacks(u64),
    /// Refuses to give a block of this height, as nodes do that have pruned it.
    Prunes(u64),
    /// Claims to be of another chain.
    ChainId(u64),
    /// Answers 413 to a request with more calls than this.
    MaxBatch(usize),
    /// Refuses to search events in more blocks at once than this.
    MaxRange(u64),
}

impl Fault {
    /// Whether it befalls the whole HTTP request; otherwise it befalls single calls.
    const fn is_of_transport(&self) -> bool {
        !matches!(
            self,
            Self::Refuse { .. }
                | Self::Answer(_)
                | Self::StaleAt(_)
                | Self::Lacks(_)
                | Self::Prunes(_)
                | Self::ChainId(_)
                | Self::MaxRange(_)
        )
    }

    const fn befalls_request(&self, calls: usize) -> bool {
        match self {
            Self::MaxBatch(most) => calls > *most,
            _ => self.is_of_transport(),
        }
    }
}

/// A fault, whom it befalls and how often.
///
/// Of the faults that befall a whole request the first rule that names one of its methods
/// wins; a batch shares its fate. Faults of single calls all apply, each to the calls of a
/// batch that it names.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    methods: Option<BTreeSet<String>>,
    left: Option<u32>,
}

impl Rule {
    /// Befalls every method, until the rules change.
    pub const fn of(fault: Fault) -> Self {
        Self { fault, methods: None, left: None }
    }

    /// Only these methods.
    #[must_use]
    pub fn on<'a>(mut self, methods: impl IntoIterator<Item = &'a str>) -> Self {
        self.methods = Some(methods.into_iter().map(str::to_owned).collect());
        self
    }

    /// Only the next `times` requests (or, for faults of single calls, calls) that it befalls.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    fn befalls(&self, call: &Call) -> bool {
        self.left != Some(0) && self.methods.as_ref().is_none_or(|methods| methods.contains(&call.method))
    }

    fn apply(&mut self) -> Fault {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.fault.clone()
    }
}

#[derive(Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    /// What befalls the whole request, and what befalls each of its calls.
    pub(super) fn judge(&mut self, calls: &[Call]) -> (Option<Fault>, Vec<Vec<Fault>>) {
        let whole = self
            .0
            .iter_mut()
            .find(|rule| {
                rule.fault.befalls_request(calls.len()) && calls.iter().any(|call| rule.befalls(call))
            })
            .map(Rule::apply);
        let single = calls.iter().map(|call| self.judge_call(call)).collect();
        (whole, single)
    }

    fn judge_call(&mut self, call: &Call) -> Vec<Fault> {
        self.0
            .iter_mut()
            .filter(|rule| !rule.fault.is_of_transport() && rule.befalls(call))
            .map(Rule::apply)
            .collect()
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}
