use crate::{
    events::Events,
    folder::{Folder, Loaded},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Changes come in bursts: a reload waits until it was quiet for so long, ...
const GATHER: Duration = Duration::from_millis(50);
/// ... but no longer than this, so that a folder that never rests is reloaded too.
const GATHER_AT_MOST: Duration = Duration::from_millis(500);
/// For what no event tells: network file systems, a folder that was replaced, credentials
/// elsewhere.
const POLL: Duration = Duration::from_secs(2);

/// A folder as it is loaded now. The folder is read again until this is dropped.
#[derive(Debug)]
pub struct Watch {
    loaded: watch::Receiver<Loaded>,
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

/// The folder is not watched any more: its thread has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the folder of offers is not watched any more")]
pub struct Closed(());

impl Watch {
    pub(crate) fn begin(folder: Folder) -> io::Result<Self> {
        let (published, loaded) = watch::channel(folder.loaded());
        // One place: a wake that waits stands for all that happened meanwhile.
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task { folder, published, woken, wake: wake.clone(), stop: Arc::clone(&stop) };
        thread::Builder::new().name("obol-offers".to_owned()).spawn(move || task.run())?;
        Ok(Self { loaded, stop, wake })
    }

    pub fn loaded(&self) -> Loaded {
        self.loaded.borrow().clone()
    }

    /// Waits until offers or faults differ from those that this returned for last, or from the
    /// first load. Loses nothing when it is cancelled.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        self.loaded.changed().await.map_err(|_| Closed(()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // When the place is taken, the thread is about to wake anyway.
        let _ = self.wake.try_send(());
    }
}

struct Task {
    folder: Folder,
    published: watch::Sender<Loaded>,
    woken: Receiver<()>,
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
}

impl Task {
    fn run(mut self) {
        let mut events = Events::new(self.wake.clone());
        // What changed between the first load and the first event is found by the first pass.
        events.follow(self.folder.path());
        self.pass();
        while !self.stop.load(Ordering::Acquire) {
            match self.woken.recv_timeout(POLL) {
                Ok(()) => self.gather(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            events.follow(self.folder.path());
            self.pass();
        }
    }

    fn pass(&mut self) {
        if !self.folder.reload() {
            return;
        }
        let loaded = self.folder.loaded();
        self.published.send_if_modified(|current| {
            let differs = *current != loaded;
            if differs {
                *current = loaded;
            }
            differs
        });
    }

    fn gather(&self) {
        let begun = Instant::now();
        while begun.elapsed() < GATHER_AT_MOST && !self.stop.load(Ordering::Acquire) {
            if self.woken.recv_timeout(GATHER).is_err() {
                return;
            }
        }
    }
}
