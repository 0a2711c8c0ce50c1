//! Logs go to standard error; standard output is for results.

use crate::faults::Faults;
use serde_json::{Value, json};
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, filter_fn},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub(crate) struct Logging {
    filter: String,
    format: Format,
}

impl Logging {
    /// Where a text has a fault, `default` is what is logged until the fault is told.
    pub(crate) fn read(filter: Option<&str>, default: &str, format: &str, faults: &mut Faults) -> Self {
        let filter = filter.map(str::trim).filter(|filter| !filter.is_empty()).unwrap_or(default);
        let format = match format {
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            other => {
                faults.add("--log-format", format!("{other:?} is neither text nor json"));
                None
            }
        };
        let filter = faults.sift("--log", check(filter).map(|()| filter)).unwrap_or(default);
        Self { filter: filter.to_owned(), format: format.unwrap_or(Format::Text) }
    }

    pub(crate) fn shown(&self) -> [(String, Value); 2] {
        let format = match self.format {
            Format::Text => "text",
            Format::Json => "json",
        };
        [("log".to_owned(), json!(self.filter)), ("log_format".to_owned(), json!(format))]
    }

    pub(crate) fn start(&self) {
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match self.format {
            Format::Text => lines.compact().boxed(),
            Format::Json => lines.json().boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(without_secrets(&self.filter))).init();
    }
}

/// A single word would name a part of the program, all of whose lines are then logged and nothing
/// else: a level that is misspelt would leave the log empty.
fn check(filter: &str) -> Result<(), String> {
    let level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let wrong = filter.split(',').find(|directive| !directive.contains(['=', '[']) && !level(directive));
    let refuse = |why: &str| {
        Err(format!(
            "{why}; give a level (error, warn, info, debug), or directives such as warn,obol_verifier=debug"
        ))
    };
    match (wrong, EnvFilter::try_new(filter)) {
        (Some(word), _) => refuse(&format!("{word:?} is not a level")),
        (None, Err(error)) => refuse(&format!("{filter:?} is not a filter ({error})")),
        (None, Ok(_)) => Ok(()),
    }
}

/// What puts a chain's endpoint on each line, whose path or query often holds a provider's key, and
/// each question and answer, which hold payers and signatures that are not on the chain yet.
const SECRETIVE: [&str; 4] = ["alloy_transport", "alloy_rpc_client", "alloy_json_rpc", "alloy_provider"];

/// The filter that was asked for, which was checked. Whatever it is, secrets are not logged.
fn without_secrets<S: Subscriber>(filter: &str) -> impl Filter<S> + use<S> {
    let filter = EnvFilter::new(filter);
    filter.and(filter_fn(|metadata| !SECRETIVE.iter().any(|part| metadata.target().starts_with(part))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while it is held").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(without_secrets(filter)));
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().expect("no panic while it was held").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn no_filter_shows_the_whole_url_of_an_endpoint() {
        for filter in [
            "info",
            "debug",
            "trace",
            "alloy_transport_http=trace",
            "alloy_transport_http::reqwest=trace,trace",
        ] {
            let text = logged(filter, || {
                // As the transport does it, and a line of another crate within.
                let span = tracing::debug_span!(
                    target: "alloy_transport_http::reqwest_transport", "ReqwestTransport", url = "https://x/key",
                );
                let _entered = span.entered();
                tracing::info!(target: "hyper_util::client", "connecting");
                tracing::trace!(target: "alloy_rpc_client::call", "sending request, signed with the key");
                tracing::info!("settler");
            });
            assert!(!text.contains("key"), "{filter}: {text}");
            assert!(filter.starts_with("alloy") || text.contains("settler"), "{filter}: {text}");
        }
    }
    #[test]
    fn a_filter_that_would_log_nothing_is_refused() {
        for good in ["info", "OFF", "warn,obol_verifier=debug", "info,hyper=off", "[sale{payment=1}]=trace"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["inof", "obol_verifier", "info,obol_verifier=loud", "info, hyper=off", "obol=debug=info"]
        {
            assert!(check(bad).is_err_and(|why| why.contains("give a level")), "{bad}");
        }
    }
}
