//! The listener: takes connections up to a limit, cuts off whoever does not send a request in time,
//! and at the end lets answers under way be finished. Decides nothing about what is asked. Called by
//! the daemon.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::streams::MOST_STREAMS;

/// What is left to connections that are no streams.
const OTHERS: u64 = 5_000;
/// How long an answer that is complete may take to leave once the server ends.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long is waited when the system has no more connections to give.
const PAUSE: Duration = Duration::from_secs(1);

/// How much of everything a listener gives.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the opening of a connection, or the end of the answer before, to the end of the next
    /// request's header.
    pub header_time: Duration,
    /// Connections at a time; others wait to be taken.
    pub connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let connections = usize::try_from(MOST_STREAMS + OTHERS).unwrap_or(Semaphore::MAX_PERMITS);
        Self { header_time: Duration::from_secs(30), connections }
    }
}

/// Serves `router` until `shutdown`, then waits for the answers under way. Streams are to end by
/// themselves at `shutdown`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    // A task for each connection, as every server has; they end with this function.
    let mut open = JoinSet::new();
    loop {
        let (place, stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = accept(&listener, &places) => accepted,
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        open.spawn(async move {
            hold(stream, peer, router, bounds.header_time, shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    let place = Arc::clone(places).acquire_owned().await.expect("it is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (place, stream, peer),
            Err(error) => match error.kind() {
                // Whoever knocked is gone.
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset => {}
                _ => {
                    tracing::error!(%error, "cannot take a connection, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// One connection, to its end.
async fn hold(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    header_time: Duration,
    shutdown: CancellationToken,
) {
    // Every answer under way keeps a receiver.
    let answers = Arc::new(watch::Sender::new(()));
    let service = service_fn({
        let answers = Arc::clone(&answers);
        move |request| answer(router.clone(), request, peer, answers.subscribe())
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                // Half a request is none: nobody waits for the rest of it.
                () = last_words(&answers) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Until no answer is under way, and what was complete had time to leave.
async fn last_words(answers: &watch::Sender<()>) {
    answers.closed().await;
    tokio::time::sleep(LAST_WORDS).await;
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    under_way: watch::Receiver<()>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Body { body, _under_way: under_way }))
}

/// A body that is under way until it is dropped.
struct Body {
    body: axum::body::Body,
    _under_way: watch::Receiver<()>,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}
