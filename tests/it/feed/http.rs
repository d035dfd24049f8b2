//! HTTP endpoints that are polled.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use tokio::net::TcpListener;

use super::{Bench, assert_all_there, ended_badly, ended_well, numbered};

/// Serves an answer to each request: its number, its query and its headers.
async fn serve(
    answer: impl Fn(usize, &str, &HeaderMap) -> (StatusCode, String) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let requests = Arc::new(Mutex::new(0));
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let number = {
            let mut requests = requests.lock().expect("nobody panicked");
            *requests += 1;
            *requests
        };
        let answered = answer(number, uri.query().unwrap_or_default(), &headers);
        std::future::ready(answered)
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/items")
}

/// The value of a query parameter.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

const ITEMS: usize = 300;
const PAGE: usize = 10;

/// A page of numbered items from the cursor on; each third request fails.
fn page(number: usize, query: &str) -> (StatusCode, String) {
    if number.is_multiple_of(3) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "busy".to_owned());
    }
    let from: usize =
        parameter(query, "cursor").map_or(0, |cursor| cursor.parse().expect("a number"));
    let end = (from + PAGE).min(ITEMS);
    let items: Vec<_> = (from..end).map(numbered).collect();
    let next = if end < ITEMS {
        format!("\"{end}\"")
    } else {
        "null".to_owned()
    };
    let answer = format!(
        r#"{{"data":{{"items":[{}]}},"next":{next}}}"#,
        items.join(",")
    );
    (StatusCode::OK, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_behind_cursors_are_complete_after_failures_and_a_kill() {
    let bench = Bench::start().await;
    let url = serve(|number, query, _| page(number, query)).await;
    let resume = bench.path("resume");
    let arguments = |more: &[&'static str]| {
        let mut arguments: Vec<String> = ["http", &url, "--every", "50ms", "--resume", &resume]
            .map(str::to_owned)
            .to_vec();
        let fixed = [
            "--array-path",
            "data.items",
            "--cursor-path",
            "next",
            "--cursor-param",
            "cursor",
        ];
        arguments.extend(fixed.iter().chain(more).map(|text| (*text).to_owned()));
        arguments
    };
    let start = |more: &[&'static str]| {
        let arguments = arguments(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        bench.feed(&arguments)
    };
    let mut feed = start(&["--rate", "70"]);
    bench.await_messages(45, &feed);
    feed.kill();
    let feed = start(&[]);
    bench.await_messages(ITEMS, &feed);
    feed.signal("TERM");
    let output = ended_well(feed);
    assert!(output.contains("500"), "an outage is told: {output}");
    assert_all_there(&bench.messages(), ITEMS, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_newer_is_asked_for_and_comes_once() {
    let bench = Bench::start().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    // Newest first, the newest one again and again, some more with each request.
    let url = serve(move |number, query, headers| {
        let key = headers.get("x-key").and_then(|key| key.to_str().ok());
        assert_eq!(key, Some("s3cret"), "the token goes into the header");
        let since = parameter(query, "since_id").map(str::to_owned);
        seen.lock().expect("nobody panicked").push(since.clone());
        let from: usize = since.map_or(0, |since| since.parse().expect("a number"));
        let items: Vec<_> = (from..number * 3).rev().map(numbered).collect();
        (StatusCode::OK, format!("[{}]", items.join(",")))
    })
    .await;
    let token = bench.path("token");
    std::fs::write(&token, "s3cret\n").expect("it can be written");
    let url = format!("{url}?limit=40&since_id=0");
    let feed = bench.feed(&[
        "http",
        &url,
        "--every",
        "20ms",
        "--array-path",
        ".",
        "--since-path",
        "n",
        "--since-param",
        "since_id",
        "--limit",
        "30",
        "--token-file",
        &token,
        "--header",
        "X-Key: {token}",
    ]);
    let output = ended_well(feed);
    let expected: Vec<_> = (0..30).map(numbered).collect();
    assert_eq!(bench.messages(), expected, "{output}");
    let asked = asked.lock().expect("nobody panicked");
    assert_eq!(asked[1].as_deref(), Some("2"), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_it_and_shows_no_secret() {
    let bench = Bench::start().await;
    let url = serve(|_, _, _| (StatusCode::UNAUTHORIZED, String::new())).await;
    let url = format!("{url}?key=s3cret");
    let (code, output) = ended_badly(bench.feed(&["http", &url]));
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("401") && !output.contains("s3cret"),
        "{output}"
    );
}
