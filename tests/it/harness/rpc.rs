//! One JSON-RPC call over a connection of its own, blocking and without any code of the program
//! under test. Called by the bitcoind of the harness.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

/// Why a call has no result.
#[derive(Debug)]
pub enum Fault {
    /// No node, or none that answers yet.
    NoAnswer(String),
    /// The node's own error.
    Refused { code: i64, message: String },
}

pub fn call(
    port: u16,
    cookie: &Path,
    path: &str,
    method: &str,
    params: &Value,
) -> Result<Value, Fault> {
    let lost = |what: &dyn ToString| Fault::NoAnswer(what.to_string());
    let login = std::fs::read(cookie).map_err(|error| lost(&error))?;
    let body = json!({ "id": 1, "method": method, "params": params }).to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {}\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        BASE64.encode(&login),
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| lost(&error))?;
    stream.set_read_timeout(Some(Duration::from_secs(120))).map_err(|error| lost(&error))?;
    stream.write_all(request.as_bytes()).map_err(|error| lost(&error))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| lost(&error))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| lost(&"no HTTP answer"))?;
    let reply: Value = serde_json::from_str(body)
        .map_err(|_| lost(&format!("{}: {body}", head.lines().next().unwrap_or_default())))?;
    match &reply["error"] {
        Value::Null => Ok(reply["result"].clone()),
        error => {
            let code = error["code"].as_i64().unwrap_or_default();
            let message = error["message"].as_str().unwrap_or_default().to_owned();
            // RPC_IN_WARMUP
            if code == -28 {
                Err(Fault::NoAnswer(message))
            } else {
                Err(Fault::Refused { code, message })
            }
        }
    }
}
