//! Handlers that go on to their end when nobody waits for them any more: one that a reset stream dropped
//! in the middle of a statement would take its connection to the database with it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::STREAMS_MAX;

/// Runs the handlers of one connection, each to its end.
#[derive(Clone)]
pub(super) struct Handlers {
    tasks: TaskTracker,
    kill: CancellationToken,
    /// As many as there are streams. A client that resets its streams waits for what it has begun.
    places: Arc<Semaphore>,
}

/// The server has ended the handler, or a panic has. The stream is reset.
#[derive(Debug, thiserror::Error)]
#[error("the request was not answered")]
pub(super) struct Unanswered;

impl Handlers {
    pub(super) fn new(tasks: TaskTracker, kill: CancellationToken) -> Self {
        Self { tasks, kill, places: Arc::new(Semaphore::new(STREAMS_MAX as usize)) }
    }

    /// Dropped before it has begun, a handler is not run.
    pub(super) async fn run<T: Send + 'static>(
        self,
        handler: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Unanswered> {
        let Self { tasks, kill, places } = self;
        let place = places.acquire_owned().await.map_err(|_| Unanswered)?;
        let running = tasks.spawn(async move {
            let _place = place;
            kill.run_until_cancelled(handler).await
        });
        running.await.ok().flatten().ok_or(Unanswered)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn handlers() -> Handlers {
        Handlers::new(TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_handler_ends_well_although_its_stream_is_reset() {
        let handlers = handlers();
        let (go, begun) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut run = Box::pin(handlers.clone().run(async move {
            begun.await.expect("it goes on");
            tell.send("done").expect("somebody listens");
        }));
        assert!(run.as_mut().now_or_never().is_none());
        drop(run);
        go.send(()).expect("it still runs");
        assert_eq!(told.await, Ok("done"));
    }

    #[tokio::test]
    async fn handlers_of_reset_streams_are_as_many_as_streams_and_end_with_the_server() {
        let handlers = handlers();
        for _ in 0..STREAMS_MAX {
            let run = Box::pin(handlers.clone().run(std::future::pending::<()>()));
            assert!(run.now_or_never().is_none());
        }
        let next = handlers.clone().run(async { panic!("it was reset before it began") });
        let next: Option<Result<(), Unanswered>> = Box::pin(next).now_or_never();
        assert!(next.is_none());
        assert_eq!(handlers.tasks.len(), STREAMS_MAX as usize);
        handlers.kill.cancel();
        handlers.tasks.close();
        handlers.tasks.wait().await;
        assert_eq!(handlers.places.available_permits(), STREAMS_MAX as usize);
    }
}
