use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first SIGINT or SIGTERM.
pub(crate) async fn stop_requested() {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be received; stop the process by killing it");
                return std::future::pending().await;
            }
        };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
