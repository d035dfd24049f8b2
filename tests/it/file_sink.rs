//! Sinks of files: every row in one file, whole, in the folder of its values, whatever dies on the way.
//!
//! Parquet is read back by DataFusion, and by DuckDB where `DUCKDB_PYTHON` names a Python that has it
//! (`tests/duckdb/duckdb`); object stores need `S3_ENDPOINT` (`tests/s3/s3`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;

use crate::support::broker::{Broker, not_here};
use crate::support::client::{Answer, Client, Failure};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS numbers (n bigint, who text, at timestamp) WITH (topic = 'numbers')";
const WHO: [&str; 4] = ["ann", "b/o b", "", "eve"];
/// More places than this would be a mistake of the test.
const PLACES_MAX: usize = 200;
/// Servers at the same time: most of a run is waiting.
const SIDE_BY_SIDE: usize = 3;

/// A server with a table of numbers, and a folder for files.
struct World {
    server: Server,
    client: Client,
    cluster: Cluster,
    folder: TempDir,
    _broker: Broker,
}

impl World {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("numbers", 2).await;
        let bootstrap = broker.bootstrap();
        let mut all = vec!["--kafka", &bootstrap];
        all.extend(arguments);
        let mut server = Server::start_with(&all);
        let client = server.connect().await;
        client.run(TABLE).await;
        Self {
            server,
            client,
            cluster,
            folder: TempDir::new().expect("a temporary folder"),
            _broker: broker,
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A sink whose files are in the folder of its name.
    async fn sink(&self, name: &str, options: &str) {
        let options = format!(", checkpoint_interval = '50 ms'{options}");
        let sql = statement(name, &self.dir(name), &options);
        self.client.run(&sql).await;
    }

    /// Until every row that was produced is in a file.
    async fn written(&self) {
        self.client.run("FLUSH").await;
        all_written(&self.client).await;
    }
}

fn statement(name: &str, dir: &Path, options: &str) -> String {
    format!(
        "CREATE SINK IF NOT EXISTS {name} WITH (connector = 'file', path = '{}'{options}) AS \
         SELECT n, who, at FROM numbers",
        dir.display()
    )
}

async fn all_written(client: &Client) {
    let sql = "SELECT sum(waiting) FROM headwater.outboxes";
    wait::until_async("empty outbox", async || {
        (client.value(sql).await == "0").then_some(())
    })
    .await;
}

/// Row n; its values follow from it.
fn row(n: i64) -> Record {
    let who = WHO[usize::try_from(n).expect("a row number") % WHO.len()];
    let json = format!(
        r#"{{"n":{n},"who":"{who}","at":"2026-01-{:02}T{:02}:00:00"}}"#,
        1 + n / 48,
        n % 24
    );
    Record::of(json).in_partition(i32::from(n % 2 == 1))
}

fn rows(numbers: std::ops::Range<i64>) -> Vec<Record> {
    numbers.map(row).collect()
}

/// The files below a folder, by their path in it; one whose name begins with a dot is none.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let is_hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() {
                left.push(path);
            } else if !is_hidden {
                let name = path
                    .strip_prefix(dir)
                    .expect("it is below")
                    .to_string_lossy();
                let bytes = std::fs::read(&path).expect("it can be read");
                found.insert(name.into_owned(), bytes);
            }
        }
    }
    found
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("a file is text")
}

/// The numbers of the rows in NDJSON files, sorted.
fn numbers_in(files: &BTreeMap<String, Vec<u8>>) -> Vec<i64> {
    let lines = files.values().flat_map(|bytes| text(bytes).lines());
    let number = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        row["n"].as_i64().expect("a row has its number")
    };
    let mut numbers: Vec<i64> = lines.map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// What DataFusion reads from a folder of Parquet files, a row a text.
async fn read_parquet(dir: &Path, sql: &str) -> Vec<String> {
    let context = SessionContext::new();
    let place = format!("{}/", dir.display());
    let options = ParquetReadOptions::default();
    let registered = context.register_parquet("files", &place, options).await;
    registered.expect("the files are Parquet");
    let rows = context.sql(sql).await.expect("it is planned");
    let batches = rows.collect().await.expect("they can be read");
    let mut all = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| array_value_to_string(column, row).expect("a value has a text"));
            all.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    all
}

#[tokio::test]
async fn each_row_is_in_one_file_in_the_folder_of_its_values_in_every_format() {
    let world = World::start().await;
    world
        .sink(
            "lines",
            ", format = 'ndjson', partition_by = 'who, day(at)', roll_interval = '100 ms'",
        )
        .await;
    world
        .sink(
            "csv",
            ", format = 'csv', partition_by = 'hour(at)', roll_interval = '100 ms'",
        )
        .await;
    world
        .sink("columns", ", format = 'parquet', roll_interval = '100 ms'")
        .await;
    for part in 0..3 {
        world
            .cluster
            .produce("numbers", &rows(part * 40..(part + 1) * 40));
        world.written().await;
    }
    let all: Vec<i64> = (0..120).collect();

    let lines = files(&world.dir("lines"));
    assert_eq!(numbers_in(&lines), all);
    for (name, bytes) in &lines {
        let first: serde_json::Value =
            serde_json::from_str(text(bytes).lines().next().expect("a row")).expect("JSON");
        let n = first["n"].as_i64().expect("a number");
        let who = WHO[usize::try_from(n).expect("small") % WHO.len()].replace('/', "%2F");
        let folder = format!("who={who}/at_day=2026-01-{:02}/part-", 1 + n / 48);
        assert!(name.starts_with(&folder), "row {n} is in {name}");
        assert!(name.ends_with(".ndjson"), "{name}");
        assert!(
            first.get("who").is_none(),
            "its value is in the folder's name"
        );
    }

    let csv = files(&world.dir("csv"));
    let mut numbers = Vec::new();
    for (name, bytes) in &csv {
        assert!(name.starts_with("at_hour=2026-01-0"), "{name}");
        let mut found = text(bytes).lines();
        assert_eq!(found.next(), Some("n,who,at"), "{name}");
        for line in found {
            let n: i64 = line
                .split(',')
                .next()
                .expect("a value")
                .parse()
                .expect("a number");
            let is_empty = WHO[usize::try_from(n).expect("small") % WHO.len()].is_empty();
            assert_eq!(line.contains(",\"\","), is_empty, "{line}");
            numbers.push(n);
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, all);

    let sql = "SELECT count(*), sum(n), count(DISTINCT n), count(DISTINCT who), max(at) FROM files";
    let read = read_parquet(&world.dir("columns"), sql).await;
    assert_eq!(read, ["120|7140|120|4|2026-01-03T23:00:00"]);
}

#[tokio::test]
async fn duckdb_reads_the_parquet_files_with_their_folders() {
    let Ok(python) = std::env::var("DUCKDB_PYTHON") else {
        not_here("DUCKDB_PYTHON is not set; tests/duckdb/duckdb installs one");
        return;
    };
    let world = World::start().await;
    for compression in ["zstd", "snappy", "none"] {
        let options = format!(
            ", format = 'parquet', compression = '{compression}', partition_by = 'who', roll_interval = '100 ms'"
        );
        world.sink(compression, &options).await;
    }
    world.cluster.produce("numbers", &rows(0..100));
    world.written().await;
    for compression in ["zstd", "snappy", "none"] {
        let glob = world.dir(compression).join("*").join("*.parquet");
        let program = format!(
            "import duckdb\n\
             rows = duckdb.sql(\"\"\"SELECT count(*), sum(n), count(DISTINCT who), min(\"at\"), \
             count(*) FILTER (WHERE who = 'b/o b') FROM read_parquet('{}', hive_partitioning = true)\"\"\")\n\
             print(*rows.fetchall()[0], sep='|')\n",
            glob.display()
        );
        let done = Command::new(&python).args(["-c", &program]).output();
        let done = done.expect("Python runs");
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        let answer = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(
            answer.trim(),
            "100|4950|4|2026-01-01 00:00:00|25",
            "{errors}"
        );
    }
}

#[tokio::test]
async fn a_file_ends_by_its_size_and_what_is_left_waits_through_a_crash() {
    let mut world = World::start().await;
    let options = ", format = 'ndjson', roll_bytes = '2 KB', roll_interval = 'off'";
    world.sink("sized", options).await;
    for part in 0..30 {
        world
            .cluster
            .produce("numbers", &rows(part * 10..(part + 1) * 10));
        world.client.run("FLUSH").await;
    }
    let sql = "SELECT waiting, delivered FROM headwater.outboxes";
    let counts = wait::until_async("files", async || {
        let rows = world.client.rows(sql).await;
        let counts = rows.first().cloned().unwrap_or_default();
        let count = |at: usize| -> Option<i64> { counts.get(at)?.as_ref()?.parse().ok() };
        let (waiting, delivered) = (count(0)?, count(1)?);
        (waiting + delivered == 300 && waiting < 60).then_some((waiting, delivered))
    })
    .await;
    let before = files(&world.dir("sized"));
    assert!(before.len() >= 3, "there are {} files", before.len());
    for (name, bytes) in &before {
        assert!(bytes.len() >= 2_000, "{name} has {} bytes", bytes.len());
    }
    let written = i64::try_from(numbers_in(&before).len()).expect("a count");
    assert_eq!(written, counts.1);

    world.server.crash_and_start_again();
    world.client = world.server.connect().await;
    world.cluster.produce("numbers", &rows(300..600));
    world.client.run("FLUSH").await;
    let after = wait::until_async("more files", async || {
        let after = files(&world.dir("sized"));
        (after.len() > before.len()).then_some(after)
    })
    .await;
    for (name, bytes) in &before {
        assert_eq!(after.get(name), Some(bytes), "a file stays as it is");
    }
    let mut numbers = numbers_in(&after);
    let count = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), count, "no row is there twice");
}

#[tokio::test]
async fn a_full_outbox_makes_files_before_their_time() {
    let world = World::start().await;
    let options = ", format = 'ndjson', roll_interval = 'off', outbox_bytes_max = '4 KB'";
    world.sink("tight", options).await;
    for part in 0..30 {
        world
            .cluster
            .produce("numbers", &rows(part * 10..(part + 1) * 10));
        world.client.run("FLUSH").await;
    }
    let sql = "SELECT waiting FROM headwater.outboxes";
    let waiting: usize = world.client.value(sql).await.parse().expect("a number");
    let there = wait::until_async("files", async || {
        let there = files(&world.dir("tight"));
        (numbers_in(&there).len() + waiting >= 300).then_some(there)
    })
    .await;
    assert!(!there.is_empty(), "what is full is written");
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told_and_the_sink_goes_on_when_it_can_be_made() {
    let world = World::start().await;
    let options = ", format = 'ndjson', roll_interval = '100 ms'";
    world.sink("gone", options).await;
    let dir = world.dir("gone");
    std::fs::remove_dir_all(&dir).expect("the sink has made it");
    std::fs::write(&dir, "a file").expect("it can be written");
    world.cluster.produce("numbers", &rows(0..10));
    world.client.run("FLUSH").await;
    let error = wait::until_async("error", async || {
        let sql = "SELECT last_error FROM headwater.sinks WHERE last_error IS NOT NULL";
        world.client.rows(sql).await.into_iter().next()
    })
    .await;
    let error = error[0].clone().unwrap_or_default();
    assert!(error.contains("gone"), "{error}");
    std::fs::remove_file(&dir).expect("it is there");
    world.written().await;
    assert_eq!(numbers_in(&files(&dir)), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sink_that_is_created_anew_keeps_the_files_of_the_one_before() {
    let world = World::start().await;
    let options = ", format = 'ndjson', roll_interval = '100 ms'";
    world.cluster.produce("numbers", &rows(0..10));
    for _ in 0..2 {
        world.sink("again", options).await;
        world.written().await;
        world.client.run("DROP SINK again").await;
    }
    let twice: Vec<i64> = (0..10).flat_map(|n| [n, n]).collect();
    assert_eq!(numbers_in(&files(&world.dir("again"))), twice);
}

/// One run in which the server dies at the n-th place; false when there is no such place.
async fn dies_at(nth: usize) -> bool {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("numbers", 2).await;
    cluster.produce("numbers", &rows(0..20));
    let folder = TempDir::new().expect("a temporary folder");
    let dir = folder.path().join("files");
    // FLUSH alone ends epochs, and a part's rows are of one day: so many places there are and no more.
    let options = ", format = 'ndjson', partition_by = 'day(at)', roll_interval = '100 ms', \
         checkpoint_interval = '10 minutes'";
    let sink = statement("crashing", &dir, options);
    let mut server = Server::start_to_crash(&["--kafka", &broker.bootstrap()], nth);
    let address = server.address();
    let act = async || -> Result<(), Failure> {
        let client = Client::connect(address).await?;
        client.simple(TABLE).await?;
        client.simple(&sink).await?;
        client.simple("FLUSH").await?;
        let sql = "SELECT 1 FROM headwater.outboxes WHERE waiting > 0";
        wait::until_async("empty outbox", async || match client.simple(sql).await {
            Ok(Answer::Rows(rows)) => rows.is_empty().then_some(Ok(())),
            Ok(Answer::Done(_)) => None,
            Err(failure) => Some(Err(failure)),
        })
        .await
    };
    let mut died = false;
    for part in 1..3 {
        if let Err(failure) = act().await {
            assert!(!died, "place {nth}: {failure}");
            died = true;
            server.process().wait_for_end();
            server.start_again();
            let acted = act().await;
            acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
        }
        let found = numbers_in(&files(&dir));
        assert_eq!(
            found,
            (0..part * 20).collect::<Vec<_>>(),
            "place {nth}, died: {died}"
        );
        cluster.produce("numbers", &rows(part * 20..(part + 1) * 20));
    }
    died
}

/// Tries each n that nobody has tried yet, until there is no such place.
async fn try_places(next: Arc<AtomicUsize>) {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        assert!(nth <= PLACES_MAX, "more than {PLACES_MAX} places");
        if !Box::pin(dies_at(nth)).await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_at_any_place_leaves_each_row_in_one_whole_file() {
    let next = Arc::new(AtomicUsize::new(1));
    let runs = (0..SIDE_BY_SIDE).map(|_| Box::pin(try_places(Arc::clone(&next))));
    futures::future::join_all(runs).await;
    let tried = next.load(Ordering::Relaxed) - SIDE_BY_SIDE;
    assert!(tried > 10, "there are only {tried} places");
}

#[tokio::test]
async fn files_go_into_an_object_store_and_a_bucket_that_is_not_there_is_told() {
    let Ok(endpoint) = std::env::var("S3_ENDPOINT") else {
        not_here("S3_ENDPOINT is not set; tests/s3/s3 starts an S3 server");
        return;
    };
    let folder = TempDir::new().expect("a temporary folder");
    let own = folder
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let file = folder.path().join("headwater.toml");
    let text = format!(
        "[object_store]\nendpoint_url = \"{endpoint}\"\nallow_http = true\n\
         access_key_id = \"any\"\nsecret_access_key = \"any\"\nregion = \"us-east-1\"\n"
    );
    std::fs::write(&file, text).expect("a file is written");
    let world = World::start_with(&["--config", &file.to_string_lossy()]).await;
    let missing = "CREATE SINK s WITH (connector = 'file', path = 's3://no-such-bucket/x', \
         format = 'ndjson') AS SELECT n FROM numbers";
    let error = world.client.error(missing).await;
    assert_eq!(error.state, "58030", "{error}");
    let sink = format!(
        "CREATE SINK s WITH (connector = 'file', path = 's3://headwater/{own}', format = 'ndjson', \
         partition_by = 'who', roll_interval = '100 ms') AS SELECT n, who FROM numbers"
    );
    world.client.run(&sink).await;
    world.cluster.produce("numbers", &rows(0..40));
    world.written().await;

    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_access_key_id("any")
        .with_secret_access_key("any")
        .with_region("us-east-1")
        .with_bucket_name("headwater")
        .build()
        .expect("a store");
    let prefix = object_store::path::Path::from(own);
    let listed: Vec<_> = futures::TryStreamExt::try_collect(store.list(Some(&prefix)))
        .await
        .expect("it can be listed");
    let mut found = BTreeMap::new();
    for object in listed {
        let got = store.get(&object.location).await.expect("it is there");
        let bytes = got.bytes().await.expect("it can be read");
        found.insert(object.location.to_string(), bytes.to_vec());
    }
    assert_eq!(numbers_in(&found), (0..40).collect::<Vec<_>>());
    let is_escaped = |name: &String| name.contains("/who=b%2Fo b/part-");
    assert!(found.keys().any(is_escaped), "{:?}", found.keys());
}

#[tokio::test]
async fn no_sink_writes_into_the_server_s_own_data() {
    let world = World::start().await;
    let data = world.server.data();
    let link = world.dir("link");
    std::os::unix::fs::symlink(&data, &link).expect("a link");
    let beside = data.join("outbox").join("..").join("files");
    for path in [
        data.clone(),
        data.join("catalog"),
        beside,
        link.join("files"),
    ] {
        let sql = format!(
            "CREATE SINK own WITH (connector = 'file', path = '{}', format = 'csv') AS SELECT n FROM numbers",
            path.display()
        );
        assert_eq!(world.client.error(&sql).await.state, "42501", "{sql}");
    }
    assert!(!data.join("files").exists(), "nothing was made");
}

#[tokio::test]
async fn a_row_whose_folder_no_file_system_has_is_a_dead_letter_and_stops_nothing() {
    let world = World::start().await;
    let options = ", format = 'ndjson', partition_by = 'who', roll_interval = '100 ms'";
    world.sink("by_who", options).await;
    let named = |who: &str| Record::of(format!(r#"{{"n":1,"who":"{who}"}}"#));
    let long = "x".repeat(300);
    let records = [named("ann"), named(&long), named("eve")];
    world.cluster.produce("numbers", &records);
    world.written().await;
    let folders: Vec<String> = files(&world.dir("by_who")).into_keys().collect();
    let folders: Vec<&str> = folders
        .iter()
        .filter_map(|name| name.split('/').next())
        .collect();
    assert_eq!(folders, ["who=ann", "who=eve"]);
    let dead = "SELECT key, reason, row FROM headwater.outbox_dead_letters";
    let dead = world.client.rows(dead).await;
    let [key, reason, message] = dead[0].as_slice() else {
        panic!("three columns: {dead:?}");
    };
    assert_eq!(key.as_deref(), Some(format!("who={long}").as_str()));
    assert_eq!(
        reason.as_deref(),
        Some("a folder's name would be longer than 255 bytes")
    );
    assert!(
        message
            .as_deref()
            .is_some_and(|row| row.contains(r#""n":1"#))
    );
    let state = "SELECT state FROM headwater.queries WHERE name = 'by_who'";
    assert_eq!(world.client.value(state).await, "running");
}
