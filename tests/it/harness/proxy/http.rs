//! The HTTP side: one request after another on each connection, in as much of HTTP/1.1 as clients of a node use.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::{Passage, Shared, Verdict, Way, stall};

/// The longest request that is read, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;
const JSON: &str = "content-type: application/json\r\n";
const HTML: &str = "content-type: text/html\r\n";
const PAGE: &str = "<html><body><h1>It works!</h1></body></html>";

/// Serves a connection until it ends, or a fault strikes all of its way.
pub(super) async fn serve(stream: TcpStream, shared: &Shared) {
    let mut stream = BufReader::new(stream);
    let passage = tokio::select! {
        biased;
        passage = shared.connections_struck(Way::Http) => passage,
        _ended = converse(&mut stream, shared) => return,
    };
    if passage == Passage::Silence {
        stall(stream).await;
    }
}

async fn converse(stream: &mut BufReader<TcpStream>, shared: &Shared) -> io::Result<()> {
    while let Some(request) = read_request(stream).await? {
        shared.count_up(request.len());
        let (answer, verdict) = exchange(&request, shared).await?;
        tokio::time::sleep(verdict.delay).await;
        let stream = stream.get_mut();
        match verdict.passage {
            Passage::Whole => write(stream, shared, 200, JSON, &answer).await?,
            Passage::Truncated => write(stream, shared, 200, JSON, &answer[..answer.len() / 2]).await?,
            Passage::Html => write(stream, shared, 200, HTML, PAGE.as_bytes()).await?,
            Passage::Status(status, retry_after) => {
                let retry_after = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
                let headers = retry_after.unwrap_or_default();
                write(stream, shared, status, &headers, b"not now").await?;
            }
            Passage::Huge => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await?;
                return shared.pour(stream, true).await;
            }
            Passage::Silence => std::future::pending().await,
            Passage::Close => return Ok(()),
        }
    }
    Ok(())
}

/// The body of the next request, or nothing where the client hung up.
async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        let header = line.split_once(':');
        if let Some((_, value)) = header.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > MAX_REQUEST_BYTES {
        return Err(io::Error::other("the request is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

/// Asks the node, and lets the faults have their way with each answer; the worst fate is the whole body's.
async fn exchange(body: &[u8], shared: &Shared) -> io::Result<(Vec<u8>, Verdict)> {
    let mut request: Value = serde_json::from_slice(body)?;
    each(&mut request, |one| shared.take_request(Way::Http, one));
    let asking = shared
        .client
        .post(format!("http://{}", shared.node()))
        .header("content-type", "application/json")
        .body(request.to_string());
    let answered = asking.send().await.map_err(io::Error::other)?;
    let text = answered.bytes().await.map_err(io::Error::other)?;
    let mut answer: Value = serde_json::from_slice(&text)?;
    let mut whole = Verdict {
        passage: Passage::Whole,
        delay: Duration::ZERO,
    };
    each(&mut answer, |one| {
        let asked = match request.as_array() {
            Some(batch) => batch.iter().find(|asked| asked["id"] == one["id"]),
            None => Some(&request),
        };
        let Some(asked) = asked else { return };
        let verdict = shared.judge(Way::Http, asked, one);
        whole.delay = whole.delay.max(verdict.delay);
        if verdict.passage != Passage::Whole {
            whole.passage = verdict.passage;
        }
    });
    Ok((answer.to_string().into_bytes(), whole))
}

/// Each of a batch, or the one.
fn each(value: &mut Value, mut with: impl FnMut(&mut Value)) {
    match value {
        Value::Array(batch) => batch.iter_mut().for_each(with),
        one => with(one),
    }
}

/// `headers` are lines of their own.
async fn write(
    stream: &mut TcpStream,
    shared: &Shared,
    status: u16,
    headers: &str,
    body: &[u8],
) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} \r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    shared.count_down(length);
    stream.flush().await
}
