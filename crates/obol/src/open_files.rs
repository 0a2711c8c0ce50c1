//! How many files this process may have open. Each connection is one, and when they run out no
//! buyer is served.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside connections to buyers and upstreams: the ledger, chains' endpoints,
/// manifests while they are read, and those who ask for health.
const OTHERS: u64 = 256;

/// Allows as many as the system lets this process have, and warns when they are fewer than the
/// settings may take.
pub(crate) fn raise(connections: usize, requests: usize) {
    let allowed = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
    let in_force = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            allowed.current
        }
    };
    if let Some(why) = shortage(in_force, connections, requests) {
        tracing::warn!("{why}");
    }
}

/// No limit is enough.
fn shortage(limit: Option<u64>, connections: usize, requests: usize) -> Option<String> {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    // A paid request has a connection to its upstream beside the buyer's.
    let needed = wide(connections).saturating_add(wide(requests)).saturating_add(OTHERS);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "{limit} files may be open, and the settings may take {needed}: raise the hard limit (ulimit -Hn, \
         LimitNOFILE= in a systemd unit), or lower --max-connections ({connections}) and --max-requests ({requests})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_holds_every_connection_is_enough() {
        assert_eq!(shortage(None, 20_000, 4_096), None);
        assert_eq!(shortage(Some(20_000 + 4_096 + OTHERS), 20_000, 4_096), None);
        let why = shortage(Some(20_000 + 4_096 + OTHERS - 1), 20_000, 4_096).expect("too few");
        assert!(why.contains("24351 files") && why.contains("--max-connections (20000)"), "{why}");
    }
}
