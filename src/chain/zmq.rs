//! News from the node over ZMQ, for whoever would otherwise wait for a timer. A hint only: messages
//! may be lost or late, so nothing is taken from them and the timer stays correct alone.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use zeromq::{Socket, SocketRecv, SubSocket, ZmqError};

/// How long after a failure the node is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// A publisher that is silent for so long may be gone without a trace.
const SILENCE: Duration = Duration::from_secs(600);
/// Messages that wait to be read; more are dropped.
const MOST: usize = 1000;

/// What the node publishes (`zmqpubhashblock`, `zmqpubrawtx`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Its best block changed.
    Block,
    /// It took this transaction into its mempool or a block.
    Transaction(Bytes),
}

/// Both ends of the news; without a publisher nothing ever comes.
pub fn channel() -> (mpsc::Sender<News>, mpsc::Receiver<News>) {
    mpsc::channel(MOST)
}

/// Listens to `endpoint` until nobody reads the news any more.
pub async fn listen(endpoint: String, news: mpsc::Sender<News>) {
    while !news.is_closed() {
        let Err(error) = hear(&endpoint, &news).await;
        tracing::warn!(endpoint, %error, "no news over ZMQ; the timer goes on alone");
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = news.closed() => {}
        }
    }
}

async fn hear(endpoint: &str, news: &mpsc::Sender<News>) -> Result<Infallible, ZmqError> {
    let mut socket = SubSocket::new();
    socket.connect(endpoint).await?;
    for topic in ["hashblock", "rawtx"] {
        socket.subscribe(topic).await?;
    }
    loop {
        let message = tokio::time::timeout(SILENCE, socket.recv());
        let message = message.await.map_err(|_| ZmqError::Other("it is silent"))??;
        let heard = match (message.get(0).map(AsRef::as_ref), message.get(1)) {
            (Some(b"hashblock"), _) => News::Block,
            (Some(b"rawtx"), Some(raw)) => News::Transaction(raw.clone()),
            _ => continue,
        };
        // Full: whoever reads will look at everything anyway.
        let _ = news.try_send(heard);
    }
}
