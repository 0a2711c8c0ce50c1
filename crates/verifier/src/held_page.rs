//! A page of metrics on its way to a reader.

use bytes::Bytes;
use hyper::body::Frame;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::OwnedSemaphorePermit;

/// A page that keeps its place among those that are held in memory until it is sent, and no longer than
/// its time: a reader that reads nothing must not keep others away for ever.
#[derive(Debug)]
pub struct HeldPage {
    held: Arc<Mutex<Option<Held>>>,
    sent: usize,
    length: usize,
}

#[derive(Debug)]
struct Held {
    text: String,
    _place: OwnedSemaphorePermit,
}

/// What is given to a connection at once. It takes the next piece when the last ones are on their way,
/// and a body that it has whole is dropped, however much of it the client has not read.
const PIECE: usize = 64 * 1024;

impl HeldPage {
    pub(crate) fn new(text: String, place: OwnedSemaphorePermit, time: Duration) -> Self {
        let length = text.len();
        let held = Arc::new(Mutex::new(Some(Held { text, _place: place })));
        let late = Arc::downgrade(&held);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(held) = late.upgrade()
                && lock(&held).take().is_some()
            {
                tracing::warn!(
                    "a reader of /metrics has not read its page in {time:?}, and gets no more of it"
                );
            }
        });
        Self { held, sent: 0, length }
    }

    /// A copy, so that what a connection has not written keeps no page in memory. None at the end; before it
    /// when the time is over, which the connection sees by the length.
    pub(crate) fn next(&mut self) -> Option<Frame<Bytes>> {
        let held = lock(&self.held);
        let rest = held.as_ref()?.text.as_bytes().get(self.sent..)?;
        let piece = rest.get(..PIECE).unwrap_or(rest);
        self.sent += piece.len();
        (!piece.is_empty()).then(|| Frame::data(Bytes::copy_from_slice(piece)))
    }

    pub(crate) const fn rest(&self) -> usize {
        self.length - self.sent
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

    const LENGTH: usize = 2 * PIECE + 7;

    fn page(time: Duration) -> (HeldPage, Arc<Semaphore>) {
        let room = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&room).try_acquire_owned().expect("room");
        (HeldPage::new("x".repeat(LENGTH), place, time), room)
    }

    fn length(page: &mut HeldPage) -> Option<usize> {
        page.next()?.into_data().ok().map(|data| data.len())
    }

    #[tokio::test]
    async fn a_page_goes_in_pieces_and_makes_room_at_its_end() {
        let (mut page, room) = page(Duration::from_secs(60));
        assert_eq!(page.rest(), LENGTH);
        assert_eq!(
            [length(&mut page), length(&mut page), length(&mut page)],
            [Some(PIECE), Some(PIECE), Some(7)]
        );
        assert_eq!((length(&mut page), page.rest()), (None, 0));
        assert_eq!(room.available_permits(), 0);
        drop(page);
        assert_eq!(room.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_page_that_is_not_read_in_time_makes_room_and_ends_before_its_length() {
        let (mut page, room) = page(Duration::from_millis(20));
        assert_eq!(length(&mut page), Some(PIECE));
        let _place = room.acquire().await.expect("room again");
        assert_eq!((length(&mut page), page.rest()), (None, LENGTH - PIECE));
    }
}
