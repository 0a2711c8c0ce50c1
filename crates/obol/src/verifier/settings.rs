//! What was typed, as it is meant. Every fault is found before the first is told.

use super::args::VerifierArgs;
use crate::{
    exit::Failure,
    faults::{Faults, seconds},
    logging::Logging,
    serving::{Serving, addresses},
    settling::Settling,
};
use obol_verifier::{ForwardAuth, Network};
use serde_json::{Value, json};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) offers: PathBuf,
    pub(super) pricing: Option<PathBuf>,
    pub(super) settling: Settling,
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) trusted: Vec<Network>,
    pub(super) forward_auth: ForwardAuth,
    pub(super) serving: Serving,
    pub(super) logging: Logging,
}

impl Settings {
    /// `faults` are those that were found before.
    pub(super) fn read(args: VerifierArgs, logging: Logging, mut faults: Faults) -> Result<Self, Failure> {
        let read = sift(args, logging, &mut faults);
        faults.settle(read)
    }

    /// As JSON, secrets hidden.
    pub(super) fn shown(&self) -> Value {
        let mut shown = self.settling.shown();
        let own = [
            ("offers", json!(self.offers)),
            ("pricing", json!(self.pricing)),
            ("listen", json!(self.listen)),
            ("admin_listen", json!(self.admin_listen)),
            ("trusted_proxy", json!(self.trusted.iter().map(ToString::to_string).collect::<Vec<_>>())),
            ("verify_only", json!(self.forward_auth.verify_only)),
            ("forward_credentials", json!(self.forward_auth.credentials)),
            ("reconcile_every", json!(self.settling.timing.reconcile.map_or(0, |every| every.as_secs()))),
        ];
        shown.extend(own.map(|(name, value)| (name.to_owned(), value)));
        shown.extend(self.serving.shown());
        shown.extend(self.logging.shown());
        Value::Object(shown)
    }
}

fn sift(args: VerifierArgs, logging: Logging, faults: &mut Faults) -> Option<Settings> {
    let offers = faults.sift("--offers", folder(args.offers.as_deref()));
    let pricing = args.pricing.as_deref().map(|path| faults.sift("--pricing", file(path)));
    let addresses = addresses((&args.listen, 8080), (&args.admin_listen, 8081), faults);
    let settling = args.settling.sift(&args.facilitators, faults);
    let trusted = faults.sift_each("--trusted-proxy", &args.trusted_proxy, str::parse);
    let serving = args.serving.sift(faults);
    let every = seconds("--reconcile-every", &args.reconcile_every, 0..=604_800, faults);
    let (listen, admin_listen) = addresses?;
    let (mut settling, every) = (settling?, every?);
    settling.timing.reconcile = (!every.is_zero()).then_some(every);
    Some(Settings {
        offers: offers?,
        pricing: pricing.map_or(Some(None), |pricing| pricing.map(Some))?,
        settling,
        listen,
        admin_listen,
        trusted,
        forward_auth: ForwardAuth { verify_only: args.verify_only, credentials: args.forward_credentials },
        serving: serving?,
        logging,
    })
}

fn file(path: &Path) -> Result<PathBuf, String> {
    // Asked first: to open a named pipe is to wait for its writer.
    if path.exists() && !path.is_file() {
        return Err(format!("{} is not a file; name the one with the static routes", path.display()));
    }
    match fs::File::open(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => Err(format!(
            "{} cannot be read: {error}; name the file with the static routes, or leave the flag out",
            path.display()
        )),
    }
}

fn folder(path: Option<&Path>) -> Result<PathBuf, String> {
    let path = path.ok_or("is missing: name the folder with the ServiceOffer files")?;
    let listed = if path.is_dir() { fs::read_dir(path) } else { Err(io::ErrorKind::NotADirectory.into()) };
    match listed {
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(format!(
            "{} is not a folder; make it, or name the one with the ServiceOffer files",
            path.display()
        )),
        Err(error) => Err(format!("the folder {} cannot be listed: {error}", path.display())),
    }
}
