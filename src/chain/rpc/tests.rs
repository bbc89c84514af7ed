//! The client against a server that plays one scripted answer for each request, because a real
//! node cannot be made to fail on command.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use secrecy::SecretString;

use super::*;
use crate::chain::ErrorClass;

/// Where the server listens, and the requests it got.
struct Server {
    url: String,
    requests: Receiver<String>,
}

/// Plays the answers in order, each on a connection of its own. An empty one is never sent.
fn serve(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = channel();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            heard.send(request(&mut stream)).unwrap();
            if answer.is_empty() {
                silent.push(stream);
            } else {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        // Silent connections stay open, and a request too many is heard, until the test is over.
        while let Ok((mut stream, _)) = listener.accept() {
            if heard.send(request(&mut stream)).is_err() {
                return;
            }
        }
    });
    Server { url, requests }
}

fn request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            return text;
        }
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn password() -> Login {
    Login::Password { user: "u".to_owned(), password: SecretString::from("p".to_owned()) }
}

async fn call(server: &Server) -> Result<Value, ChainError> {
    Rpc::new(&server.url, password()).unwrap().call("getblockcount", json!([])).await
}

#[tokio::test]
async fn a_result_is_returned_and_null_is_one() {
    let server = serve(vec![
        http("200 OK", r#"{"result":7,"error":null,"id":0}"#),
        http("200 OK", r#"{"result":null,"error":null,"id":0}"#),
        http("200 OK", r#"{"jsonrpc":"2.0","result":"x","id":0}"#),
    ]);
    let rpc = Rpc::new(&server.url, password()).unwrap();
    assert_eq!(rpc.call("a", json!([])).await, Ok(7));
    assert_eq!(rpc.call::<Option<u32>>("b", json!([])).await, Ok(None));
    assert_eq!(rpc.call("c", json!([1])).await, Ok("x".to_owned()));
    let request = server.requests.recv().unwrap();
    assert!(request.contains("authorization: Basic dTpw"), "{request}");
    assert!(request.ends_with(r#"{"id":0,"method":"a","params":[]}"#), "{request}");
}

#[tokio::test]
async fn the_body_is_read_before_the_status() {
    let error = r#"{"result":null,"error":{"code":-5,"message":"Block not found"},"id":0}"#;
    for status in ["500 Internal Server Error", "404 Not Found", "200 OK"] {
        let answer = call(&serve(vec![http(status, error)])).await.unwrap_err();
        assert_eq!(answer.code(), Some(-5), "{status}");
        assert_eq!(answer.to_string(), "bitcoind refused getblockcount: Block not found (code -5)");
    }
}

#[tokio::test]
async fn every_kind_of_failure_is_told_apart() {
    let warm = r#"{"result":null,"error":{"code":-28,"message":"Verifying blocks…"},"id":0}"#;
    for (answer, kind, class) in [
        (http("500 Internal Server Error", warm), "warming_up", ErrorClass::Transient),
        (
            http("503 Service Unavailable", "Work queue depth exceeded"),
            "busy",
            ErrorClass::Transient,
        ),
        (http("403 Forbidden", ""), "unauthorized", ErrorClass::Unauthorized),
        (http("502 Bad Gateway", "<html>"), "unusable", ErrorClass::Transient),
        (http("200 OK", "{"), "unusable", ErrorClass::Transient),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned(),
            "unreachable",
            ErrorClass::Transient,
        ),
    ] {
        let error = call(&serve(vec![answer])).await.unwrap_err();
        assert_eq!((error.kind(), error.class()), (kind, class), "{error}");
    }
    let nobody = Server { url: "http://127.0.0.1:1".to_owned(), requests: channel().1 };
    let error = call(&nobody).await.unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    assert_eq!(error.kind(), "unreachable");
}

#[tokio::test]
async fn a_request_without_an_answer_is_not_sent_again() {
    let server = serve(vec![String::new()]);
    let rpc = Rpc::new(&server.url, password()).unwrap();
    let short = Duration::from_millis(200);
    let error = rpc.call_within::<Value>(short, "send", json!([])).await.unwrap_err();
    assert_eq!(error, ChainError::Timeout { method: "send".to_owned(), seconds: 0 });
    assert!(server.requests.recv().is_ok());
    assert!(server.requests.try_recv().is_err(), "there was a second request");
}

#[tokio::test]
async fn a_broken_connection_is_not_tried_again() {
    let server = serve(vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()]);
    assert!(call(&server).await.is_err());
    assert!(server.requests.recv().is_ok());
    assert!(server.requests.try_recv().is_err(), "there was a second request");
}

#[tokio::test]
async fn a_new_cookie_is_read_once_after_a_401() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = folder.path().join(".cookie");
    std::fs::write(&cookie, "__cookie__:old\n").unwrap();
    let denied = http("401 Unauthorized", "");
    let server = serve(vec![
        http("200 OK", r#"{"result":1,"error":null,"id":0}"#),
        denied.clone(),
        http("200 OK", r#"{"result":2,"error":null,"id":0}"#),
        denied,
    ]);
    let rpc = Rpc::new(&server.url, Login::Cookie(cookie.clone())).unwrap();
    assert_eq!(rpc.call("a", json!([])).await, Ok(1));
    std::fs::write(&cookie, "__cookie__:new\n").unwrap();
    assert_eq!(rpc.call("a", json!([])).await, Ok(2));
    let error = rpc.call::<u32>("a", json!([])).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unauthorized, "the same cookie is not sent twice");
    let logins: Vec<_> = server
        .requests
        .try_iter()
        .map(|request| request.contains("X19jb29raWVfXzpuZXc="))
        .collect();
    assert_eq!(logins, [false, false, true, true]);
}

#[tokio::test]
async fn a_missing_cookie_names_its_file() {
    let server = serve(Vec::new());
    let rpc = Rpc::new(&server.url, Login::Cookie("/nowhere/.cookie".into())).unwrap();
    let error = rpc.call::<u32>("a", json!([])).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/.cookie"), "{error}");
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_batch_is_answered_in_the_order_of_its_calls() {
    let server = serve(vec![http(
        "200 OK",
        r#"[{"result":"b","error":null,"id":1},{"result":null,"error":{"code":-5,"message":"no"},"id":2},{"result":"a","error":null,"id":0}]"#,
    )]);
    let rpc = Rpc::new(&server.url, password()).unwrap();
    let params = [json!([0]), json!([1]), json!([2])];
    let answers = rpc.batch::<String>("get", &params).await.unwrap();
    let no = Fault { code: -5, message: "no".to_owned() };
    assert_eq!(answers, [Ok("a".to_owned()), Ok("b".to_owned()), Err(no)]);
    assert_eq!(rpc.batch::<String>("get", &[]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_batch_with_an_answer_too_few_is_unusable() {
    let server = serve(vec![
        http("200 OK", r#"[{"result":"b","error":null,"id":1}]"#),
        http(
            "500 Internal Server Error",
            r#"{"result":null,"error":{"code":-28,"message":"Loading"},"id":null}"#,
        ),
    ]);
    let rpc = Rpc::new(&server.url, password()).unwrap();
    let params = [json!([0]), json!([1])];
    let kind = async || rpc.batch::<String>("get", &params).await.unwrap_err().kind();
    assert_eq!(kind().await, "unusable");
    assert_eq!(kind().await, "warming_up", "a refusal of the whole batch is one object");
}

#[test]
fn an_unfit_url_is_refused_without_repeating_it() {
    for url in ["127.0.0.1:8332", "ftp://127.0.0.1", "", "http://u:geheim@127.0.0.1:8332"] {
        let error = Rpc::new(url, password()).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Fatal);
        assert!(error.to_string().contains("rpc_url") && !error.to_string().contains("geheim"));
    }
}

#[test]
fn no_login_shows_in_debug_output() {
    let rpc = Rpc::new("http://127.0.0.1:1", password()).unwrap();
    let shown = format!("{rpc:?} {:?}", password());
    assert!(!shown.contains("\"p\"") && !shown.contains("dTpw"), "{shown}");
}

#[tokio::test]
async fn a_node_that_cannot_wait_for_a_tip_is_asked_for_it_first() {
    let tip: bitcoin::BlockHash = "11".repeat(32).parse().unwrap();
    let ok =
        |result: &str| http("200 OK", &format!(r#"{{"result":{result},"error":null,"id":0}}"#));
    let help =
        r#"{"result":null,"error":{"code":-1,"message":"waitfornewblock ( timeout )"},"id":0}"#;
    let (same, other) = (ok(&format!("\"{tip}\"")), ok(&format!("\"{}\"", "22".repeat(32))));
    let server = serve(vec![http("500 Internal Server Error", help), same, ok("{}"), other]);
    let node = crate::chain::bitcoind::Bitcoind::new(&server.url, password(), None).unwrap();
    for _ in 0..2 {
        use crate::chain::BlockSource;
        assert_eq!(node.wait_for_block(&tip, Duration::from_millis(50)).await, Ok(()));
    }
    let calls: Vec<_> = server
        .requests
        .try_iter()
        .map(|request| {
            let body: Value =
                serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
            (body["method"].as_str().unwrap().to_owned(), body["params"].as_array().unwrap().len())
        })
        .collect();
    let call = |method: &str, params| (method.to_owned(), params);
    let asked = call("getbestblockhash", 0);
    let expected = [call("waitfornewblock", 2), asked.clone(), call("waitfornewblock", 1), asked];
    assert_eq!(calls, expected);
}
