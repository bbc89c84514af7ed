//! A proxy before a real PostgreSQL that loses connections at chosen moments.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sqlx::any::AnyConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// What the proxy does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Cuts when a COMMIT comes, which the server never sees.
    CutBeforeCommit,
    /// Passes a COMMIT on, waits until the server has answered, and cuts instead of answering.
    CutAfterCommit,
    /// Takes no connection.
    Down,
}

/// The running proxy; it ends with the test's runtime.
pub struct Proxy {
    url: String,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    /// Starts a proxy before the server of `url`.
    #[expect(clippy::disallowed_methods, reason = "a proxy is a task of its own")]
    pub async fn start(url: &str) -> Proxy {
        let server = PgConnectOptions::from_str(url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut through: AnyConnectOptions = url.parse().unwrap();
        through.database_url.set_host(Some("127.0.0.1")).unwrap();
        through.database_url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        // The host may stand in the query, as the path of a socket.
        through.database_url.set_query(Some("sslmode=disable"));
        let proxy = Proxy {
            url: through.database_url.to_string(),
            mode: Arc::new(AtomicU8::new(Mode::Pass as u8)),
        };
        let mode = Arc::clone(&proxy.mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if mode.load(Ordering::SeqCst) != Mode::Down as u8 {
                    tokio::spawn(serve(client, server.clone(), Arc::clone(&mode)));
                }
            }
        });
        proxy
    }

    /// The database's URL through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what happens, also to connections that stand.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

async fn serve(client: TcpStream, server: PgConnectOptions, mode: Arc<AtomicU8>) {
    match server.get_socket() {
        Some(folder) => {
            let socket = folder.join(format!(".s.PGSQL.{}", server.get_port()));
            pass(client, UnixStream::connect(socket).await.unwrap(), &mode).await;
        }
        None => {
            let address = (server.get_host(), server.get_port());
            pass(client, TcpStream::connect(address).await.unwrap(), &mode).await;
        }
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    mode: &AtomicU8,
) {
    let mut asked = vec![0; 65536];
    let mut answered = vec![0; 65536];
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(size @ 1..) = read else { return };
                let commits = asked[..size].windows(7).any(|word| word == b"COMMIT\0");
                let now = mode.load(Ordering::SeqCst);
                if now == Mode::Down as u8 || commits && now == Mode::CutBeforeCommit as u8 {
                    return;
                }
                server.write_all(&asked[..size]).await.unwrap();
                if commits && now == Mode::CutAfterCommit as u8 {
                    assert!(server.read(&mut answered).await.unwrap() > 0);
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(size @ 1..) = read else { return };
                if client.write_all(&answered[..size]).await.is_err() {
                    return;
                }
            }
        }
    }
}
