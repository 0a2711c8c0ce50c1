use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::mpsc::SyncSender};

/// The kernel's word that something in the folder changed. Where there is none, polling remains.
pub(crate) struct Events {
    wake: SyncSender<()>,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode: another folder may come to the same path.
    followed: Option<(u64, u64)>,
}

impl Events {
    pub(crate) fn new(wake: SyncSender<()>) -> Self {
        Self { wake, watcher: None, followed: None }
    }

    /// Follows the folder that is at `path` now.
    pub(crate) fn follow(&mut self, path: &Path) {
        let found = fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if found == self.followed {
            return;
        }
        self.followed = found;
        self.watcher = None;
        if found.is_none() {
            return;
        }
        match self.watcher_of(path) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "changes of offers are found by polling only");
            }
        }
    }

    fn watcher_of(&self, path: &Path) -> notify::Result<RecommendedWatcher> {
        let wake = self.wake.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| tells_of_change(&event.kind)) {
                // When the place is taken, a reload is due already.
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Reading a file is an event too: to reload for it would be to reload for ever.
fn tells_of_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(access) => matches!(access, AccessKind::Close(AccessMode::Write)),
        _ => true,
    }
}
