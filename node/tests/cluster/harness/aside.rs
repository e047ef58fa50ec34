//! A thread beside the test's own, for what would be in the way of those whose time is measured.

use tokio::runtime::{Builder, Handle, Runtime};

/// Ends with everything in it when dropped.
pub(crate) struct Aside(Option<Runtime>);

impl Aside {
    pub(crate) fn open() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(Some(runtime.expect("a thread")))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is taken away by the drop alone").handle()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not waited for: the test's own thread must not block.
            runtime.shutdown_background();
        }
    }
}
