//! What was typed, as it is meant. Every fault is found before the first is told.

use super::args::FacilitatorArgs;
use crate::{
    exit::Failure,
    faults::{Faults, number},
    logging::Logging,
    secret_file,
    serving::{Serving, addresses},
    settling::{FacilitatorsArgs, Settling},
};
use obol_facilitator_server::Callers;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) settling: Settling,
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) callers_file: Option<PathBuf>,
    pub(super) callers: Callers,
    pub(super) max_rate: NonZeroU32,
    pub(super) discovery: Option<PathBuf>,
    pub(super) serving: Serving,
    pub(super) logging: Logging,
}

impl Settings {
    /// `faults` are those that were found before.
    pub(super) fn read(args: FacilitatorArgs, logging: Logging, mut faults: Faults) -> Result<Self, Failure> {
        let read = sift(args, logging, &mut faults);
        faults.settle(read)
    }

    /// As JSON, secrets hidden.
    pub(super) fn shown(&self) -> Value {
        let mut shown = self.settling.shown();
        let own = [
            ("listen", json!(self.listen)),
            ("admin_listen", json!(self.admin_listen)),
            ("callers_file", json!(self.callers_file)),
            ("max_rate", json!(self.max_rate)),
            ("discovery", json!(self.discovery)),
        ];
        shown.extend(own.map(|(name, value)| (name.to_owned(), value)));
        shown.extend(self.serving.shown());
        shown.extend(self.logging.shown());
        Value::Object(shown)
    }
}

fn sift(args: FacilitatorArgs, logging: Logging, faults: &mut Faults) -> Option<Settings> {
    let settling = args.settling.sift(&FacilitatorsArgs::default(), faults);
    let addresses = addresses((&args.listen, 8090), (&args.admin_listen, 8091), faults);
    let callers = faults.sift("--callers-file", callers(args.callers_file.as_deref()));
    if let (None, Some((listen, _))) = (&args.callers_file, addresses)
        && !listen.ip().is_loopback()
    {
        faults.add(
            "--callers-file",
            format!(
                "is missing: others reach {listen}; name a file with their tokens, or listen on 127.0.0.1"
            ),
        );
    }
    let max_rate = faults.sift("--max-rate", number(&args.max_rate, NonZeroU32::MIN..=NonZeroU32::MAX));
    let serving = args.serving.sift(faults);
    let (listen, admin_listen) = addresses?;
    Some(Settings {
        settling: settling?,
        listen,
        admin_listen,
        callers: callers?,
        callers_file: args.callers_file,
        max_rate: max_rate?,
        discovery: args.discovery,
        serving: serving?,
        logging,
    })
}

fn callers(path: Option<&Path>) -> Result<Callers, String> {
    const FORM: &str = "it holds a line <name> <token> for each caller";
    let Some(path) = path else { return Ok(Callers::anybody()) };
    let text = secret_file::read("the callers' tokens", path)
        .map_err(|error| format!("{} cannot be read: {error}; {FORM}", path.display()))?;
    Callers::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}
