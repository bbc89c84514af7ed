//! A proxy before a server that loses the answer to one request: the server has done what it was
//! asked for, and whoever asked does not hear of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The running proxy; its threads end with the test's process.
pub struct Cut {
    /// Where it listens.
    pub url: String,
    lost: Arc<AtomicU32>,
}

impl Cut {
    /// A proxy before the server at `to` (`http://HOST:PORT`) that loses the first `count` answers
    /// to requests that begin with `start`.
    pub fn before(to: &str, start: &'static str, count: u32) -> Self {
        let to = to.strip_prefix("http://").expect("an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let lost = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&lost);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (to, counter) = (to.clone(), Arc::clone(&counter));
                std::thread::spawn(move || {
                    // Either side may go away at any moment.
                    let _ = serve(client, &to, start, count, &counter);
                });
            }
        });
        Self { url, lost }
    }

    /// How many answers were lost so far.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::SeqCst)
    }
}

fn serve(
    mut client: TcpStream,
    to: &str,
    start: &str,
    count: u32,
    lost: &AtomicU32,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(to)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let asks = Arc::new(AtomicU32::new(0));
    let asked = Arc::clone(&asks);
    let begin = start.as_bytes().to_vec();
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65536];
        while let Ok(size @ 1..) = from_client.read(&mut bytes) {
            asked.fetch_add(u32::from(bytes[..size].starts_with(&begin)), Ordering::SeqCst);
            if to_server.write_all(&bytes[..size]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let mut bytes = vec![0; 65536];
    loop {
        let size = server.read(&mut bytes)?;
        if size == 0 || (asks.swap(0, Ordering::SeqCst) > 0 && lost.load(Ordering::SeqCst) < count)
        {
            lost.fetch_add(u32::from(size > 0), Ordering::SeqCst);
            return client.shutdown(Shutdown::Both);
        }
        client.write_all(&bytes[..size])?;
    }
}
