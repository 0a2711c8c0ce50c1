//! A page of metrics on its way to a reader.

use bytes::Bytes;
use hyper::body::Frame;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
    vec,
};
use tokio::{sync::OwnedSemaphorePermit, task::AbortHandle};

/// A page that keeps its place among those that are held in memory until it is sent, and no longer than
/// its time: a reader that reads nothing must not keep others away for ever.
#[derive(Debug)]
pub struct HeldPage {
    held: Arc<Mutex<Option<Held>>>,
    /// How many bytes are not given to the connection.
    rest: usize,
    /// Ends the time: gone with the page, or thousands of them would wait behind quick readers.
    timer: AbortHandle,
}

#[derive(Debug)]
struct Held {
    /// A connection takes the next one when the last ones are on their way; a body that it has whole is
    /// dropped, however much of it the client has not read.
    pieces: vec::IntoIter<String>,
    _place: OwnedSemaphorePermit,
}

impl HeldPage {
    pub(crate) fn new(pieces: Vec<String>, place: OwnedSemaphorePermit, time: Duration) -> Self {
        let rest = pieces.iter().map(String::len).sum();
        let held = Arc::new(Mutex::new(Some(Held { pieces: pieces.into_iter(), _place: place })));
        let late = Arc::downgrade(&held);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(held) = late.upgrade()
                && lock(&held).take().is_some()
            {
                tracing::warn!(
                    "a reader of /metrics has not read its page in {time:?}, and gets no more of it"
                );
            }
        });
        Self { held, rest, timer: timer.abort_handle() }
    }

    /// None at the end; before it when the time is over, which the connection sees by the length.
    pub(crate) fn next(&mut self) -> Option<Frame<Bytes>> {
        let piece = lock(&self.held).as_mut()?.pieces.next()?;
        self.rest -= piece.len();
        Some(Frame::data(piece.into()))
    }

    pub(crate) const fn rest(&self) -> usize {
        self.rest
    }
}

impl Drop for HeldPage {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

fn lock(held: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    // It is there or not, whatever happened.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Semaphore;

    fn page(time: Duration) -> (HeldPage, Arc<Semaphore>) {
        let room = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&room).try_acquire_owned().expect("room");
        let pieces = ["one\n", "two\n", "3\n"].map(str::to_owned).to_vec();
        (HeldPage::new(pieces, place, time), room)
    }

    fn next(page: &mut HeldPage) -> Option<Bytes> {
        page.next()?.into_data().ok()
    }

    #[tokio::test]
    async fn a_page_goes_in_pieces_and_makes_room_at_its_end() {
        let (mut page, room) = page(Duration::from_secs(60));
        assert_eq!(page.rest(), 10);
        for piece in ["one\n", "two\n", "3\n"] {
            assert_eq!(next(&mut page).as_deref(), Some(piece.as_bytes()));
        }
        assert_eq!((next(&mut page), page.rest()), (None, 0));
        assert_eq!(room.available_permits(), 0);
        drop(page);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_page_that_is_not_read_in_time_makes_room_and_ends_before_its_length() {
        let (mut page, room) = page(Duration::from_millis(20));
        assert!(next(&mut page).is_some());
        let _place = room.acquire().await.expect("room again");
        assert_eq!((next(&mut page), page.rest()), (None, 6));
    }
}
