use crate::{events::Events, folder::Loaded, pricing::PricingFile, sources::Stock};
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

/// What is sold as it is loaded now. It is read again until this is dropped.
#[derive(Debug)]
pub struct Watch {
    loaded: watch::Receiver<Loaded>,
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
}

/// Nothing is watched any more: the thread that does it has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the folder of offers is not watched any more")]
pub struct Closed(());

impl Watch {
    pub(crate) fn begin(stock: Stock) -> io::Result<Self> {
        let (published, loaded) = watch::channel(stock.loaded());
        // One place: a wake that waits stands for all that happened meanwhile.
        let (wake, woken) = sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let task = Task { stock, published, woken, wake: wake.clone(), stop: Arc::clone(&stop) };
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
    stock: Stock,
    published: watch::Sender<Loaded>,
    woken: Receiver<()>,
    wake: SyncSender<()>,
    stop: Arc<AtomicBool>,
}

impl Task {
    fn run(mut self) {
        let mut of_offers = Events::new(self.wake.clone());
        let mut of_pricing = Events::new(self.wake.clone());
        // What changed between the first load and the first event is found by the first pass.
        self.follow(&mut of_offers, &mut of_pricing);
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
            self.follow(&mut of_offers, &mut of_pricing);
            self.pass();
        }
    }

    fn follow(&self, of_offers: &mut Events, of_pricing: &mut Events) {
        of_offers.follow(self.stock.folder.path());
        if let Some(folder) = self.stock.pricing.as_ref().map(PricingFile::folder) {
            of_pricing.follow(folder);
        }
    }

    fn pass(&mut self) {
        if !self.stock.reload() {
            return;
        }
        let loaded = self.stock.loaded();
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
