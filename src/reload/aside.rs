//! Heavy work on a thread of its own.
//!
//! To read and build a large config takes a while and leaves much behind. On a thread that ends, it holds up neither the
//! runtime's tasks nor, being of low priority, the threads that carry requests; and its garbage goes when it goes.

use std::{io, thread};

use tokio::{runtime::Handle, sync::oneshot};

/// Why work was not done.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    #[error("no thread can be started: {0}")]
    NoThread(#[from] io::Error),
    #[error("the code panicked")]
    Panicked,
}

/// Runs `work` to its end, within the caller's runtime. It goes on where the caller gives up.
pub async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, AsideError> {
    let runtime = Handle::current();
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name(name.into()).spawn(move || {
        let _runtime = runtime.enter();
        step_back();
        // A caller that has given up wants no answer.
        let _ = sender.send(work());
    })?;
    receiver.await.map_err(|_| AsideError::Panicked)
}

/// Lets every other thread of the machine go first. Where the system does not allow it, the work is done all the same.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOW) {
        tracing::debug!(%error, "The priority of a thread cannot be lowered");
    }
}

/// A tenth of the share that a thread of the usual priority gets, where both want the same core.
#[cfg(target_os = "linux")]
const LOW: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_elsewhere_and_comes_back() {
        let here = thread::current().id();
        let there = aside("work", || thread::current().id()).await.unwrap();
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_the_work_alone() {
        let outcome = aside("work", || panic!("for the test")).await;
        assert!(matches!(outcome, Err::<(), _>(AsideError::Panicked)));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn work_has_a_lower_priority_than_the_rest() {
        let of_this = || rustix::process::getpriority_process(Some(rustix::thread::gettid()));
        let before = of_this().unwrap();
        let within = aside("work", of_this).await.unwrap().unwrap();
        assert!(within > before, "{within} is not nicer than {before}");
        assert_eq!(of_this().unwrap(), before);
    }
}
