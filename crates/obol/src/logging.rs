//! Logs go to standard error; standard output is for results.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

pub(crate) fn start(filter: &str, format: LogFormat) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.compact().boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(without_secrets(filter))).init();
}

/// The filter that was asked for. Whatever it is, a chain's endpoint is never logged whole: its
/// path or query often holds a provider's key, and the transport puts it on every line.
fn without_secrets<S: Subscriber>(filter: &str) -> impl Filter<S> + use<S> {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("obol: --log {filter:?} is not a filter ({error}); logging at info");
        EnvFilter::new("info")
    });
    filter.and(filter_fn(|metadata| !metadata.target().starts_with("alloy_transport_http")))
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
                tracing::info!("settler");
            });
            assert!(!text.contains("key"), "{filter}: {text}");
            assert!(filter.starts_with("alloy") || text.contains("settler"), "{filter}: {text}");
        }
    }
}
