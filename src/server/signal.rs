//! The signals that ask a process to end.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves when the process gets SIGTERM, which service managers and containers send, or SIGINT,
/// which Ctrl+C sends. On Windows it resolves at Ctrl+C.
///
/// The process listens for the signals from this call on, before the future is polled, and until
/// the process ends. So a second Ctrl+C does nothing: the deadline of the shutdown bounds the wait.
/// Make the call at the beginning of the program. The kernel ignores SIGTERM for process 1, such as
/// the process of a container, until the program listens: a SIGTERM before this call is lost there.
///
/// # Panics
/// Panics outside a tokio runtime.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use roomcast::{Server, shutdown_signal};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let told_to_end = shutdown_signal();
/// let server = Server::bind("0.0.0.0:8080").await?;
/// println!("{}", server.run_until(told_to_end, Duration::from_secs(10)).await);
/// # Ok(())
/// # }
/// ```
#[cfg(unix)]
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let signals = [SignalKind::terminate(), SignalKind::interrupt()]
        .map(|kind| signal(kind).inspect_err(super::events::signal_not_heard).ok());
    async move {
        let [mut terminated, mut interrupted] = signals;
        tokio::select! {
            () = received(&mut terminated) => {}
            () = received(&mut interrupted) => {}
        }
    }
}

/// Waits for a signal. Never resolves if the system does not let the process listen.
#[cfg(unix)]
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Resolves at Ctrl+C. The process listens from the first poll on.
#[cfg(not(unix))]
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            super::events::signal_not_heard(&error);
            std::future::pending().await
        }
    }
}
