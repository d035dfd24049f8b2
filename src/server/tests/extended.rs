//! The extended protocol.

use std::time::SystemTime;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_postgres::types::{ToSql, Type};

use super::{frame, introduced, start, told, until_ready};

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_go_both_ways_in_binary() {
    let server = start().await;
    let client = server.connect().await;
    let row = client
        .query_one(
            "SELECT $1::bool, $2::smallint, $3::int, $4::bigint, $5::real, $6::float8, $7::text, \
             $8::bytea, $9::timestamptz, $10::int[], $11::text[]",
            &[
                &true,
                &-8_i16,
                &-7_i32,
                &i64::MIN,
                &1.5_f32,
                &f64::MAX,
                &"h\u{e9}'\\",
                &&b"\x00\xff"[..],
                &SystemTime::UNIX_EPOCH,
                &vec![Some(1), None, Some(-3)],
                &vec!["a", "", "NULL", "q\""],
            ],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, i16>(1), -8);
    assert_eq!(row.get::<_, i32>(2), -7);
    assert_eq!(row.get::<_, i64>(3), i64::MIN);
    assert_eq!(row.get::<_, f32>(4), 1.5);
    assert_eq!(row.get::<_, f64>(5), f64::MAX);
    assert_eq!(row.get::<_, &str>(6), "h\u{e9}'\\");
    assert_eq!(row.get::<_, &[u8]>(7), b"\x00\xff");
    assert_eq!(row.get::<_, SystemTime>(8), SystemTime::UNIX_EPOCH);
    assert_eq!(row.get::<_, Vec<Option<i32>>>(9), [Some(1), None, Some(-3)]);
    assert_eq!(row.get::<_, Vec<String>>(10), ["a", "", "NULL", "q\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_of_every_type_stay_null() {
    let server = start().await;
    let client = server.connect().await;
    let row = client
        .query_one(
            "SELECT $1::int, $2::text, $3::timestamptz, $4::int[]",
            &[
                &None::<i32>,
                &None::<&str>,
                &None::<SystemTime>,
                &None::<Vec<i32>>,
            ],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, Option<i32>>(0), None);
    assert_eq!(row.get::<_, Option<&str>>(1), None);
    assert_eq!(row.get::<_, Option<SystemTime>>(2), None);
    assert_eq!(row.get::<_, Option<Vec<i32>>>(3), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_parameters_are_inferred() {
    let server = start().await;
    let client = server.connect().await;
    let types = |text: &'static str| {
        let client = &client;
        async move { client.prepare(text).await.unwrap().params().to_vec() }
    };
    assert_eq!(
        types("SELECT * FROM generate_series(1, 9) AS n WHERE n > $1").await,
        [Type::INT8]
    );
    assert_eq!(
        types("SELECT * FROM generate_series(1, 9) AS n LIMIT $1 OFFSET $2").await,
        [Type::INT8; 2]
    );
    assert_eq!(
        types("SELECT * FROM generate_series(1, 9) AS n WHERE n = ANY($1)").await,
        [Type::INT8_ARRAY]
    );
    assert_eq!(types("SELECT $2::date, $1").await, [Type::TEXT, Type::DATE]);
    assert_eq!(types("SELECT 'x' LIKE $1").await, [Type::TEXT]);
    let rows = client
        .query(
            "SELECT n FROM generate_series(1, 9) AS n WHERE n = ANY($1) LIMIT $2",
            &[&vec![3_i64, 5, 7], &2_i64],
        )
        .await
        .unwrap();
    let numbers: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(numbers, [3, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_has_the_type_that_the_client_says() {
    let server = start().await;
    let client = server.connect().await;
    let statement = client
        .prepare_typed("SELECT $1", &[Type::INT4])
        .await
        .unwrap();
    assert_eq!(statement.columns()[0].type_(), &Type::INT4);
    assert_eq!(
        client
            .query_one(&statement, &[&5_i32])
            .await
            .unwrap()
            .get::<_, i32>(0),
        5
    );
    let error = client
        .prepare_typed("SELECT $1", &[Type::POINT])
        .await
        .unwrap_err();
    assert!(told(&error).starts_with("42704"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_gives_its_rows_piece_by_piece() {
    let server = start().await;
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction
        .bind("SELECT n FROM generate_series(1, 5) AS n", &[])
        .await
        .unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let rows = transaction.query_portal(&portal, 2).await.unwrap();
        seen.push(
            rows.iter()
                .map(|row| row.get::<_, i64>(0))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(seen, [vec![1, 2], vec![3, 4], vec![5], vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_rows_and_with_fixed_columns_are_described() {
    let server = start().await;
    let client = server.connect().await;
    for (text, columns) in [
        ("SET timezone = 'UTC'", vec![]),
        ("BEGIN", vec![]),
        ("COMMIT", vec![]),
        ("SHOW timezone", vec!["TimeZone"]),
        ("EXPLAIN SELECT 1", vec!["QUERY PLAN"]),
        (
            "SELECT 1, 1, count(*), current_user",
            vec!["?column?", "?column?", "count", "current_user"],
        ),
    ] {
        let statement = client.prepare(text).await.unwrap();
        let names: Vec<&str> = statement
            .columns()
            .iter()
            .map(|column| column.name())
            .collect();
        assert_eq!(names, columns, "{text}");
        client.query(&statement, &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_while_the_query_runs() {
    let server = start().await;
    let client = server.connect().await;
    let none: Vec<&(dyn ToSql + Sync)> = Vec::new();
    let rows = client
        .query_raw("SELECT n FROM generate_series(1, 100000000000) AS n", none)
        .await
        .unwrap();
    let mut rows = Box::pin(rows);
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!(first.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let server = start().await;
    let mut socket = introduced(&server).await;
    let messages = [
        frame(b'P', b"\0SELECT nope\0\0\0"),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', b"\0\0\0\0\0"),
        frame(b'S', b""),
        frame(b'P', b"\0SELECT 1\0\0\0"),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'D', b"P\0"),
        frame(b'E', b"\0\0\0\0\0"),
        frame(b'S', b""),
    ];
    socket.write_all(&messages.concat()).await.unwrap();
    assert_eq!(until_ready(&mut socket).await, "EZ");
    assert_eq!(until_ready(&mut socket).await, "12TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_a_driver_works() {
    let server = start().await;
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    assert_eq!(
        transaction
            .query_one("SELECT 1", &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        1
    );
    let error = transaction.query_one("SELECT nope", &[]).await.unwrap_err();
    assert!(told(&error).starts_with("42703"));
    assert!(told(&transaction.query_one("SELECT 1", &[]).await.unwrap_err()).starts_with("25P02"));
    transaction.rollback().await.unwrap();
    client.query_one("SELECT 1", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_statement_can_be_deallocated_by_its_name() {
    let server = start().await;
    let mut socket = introduced(&server).await;
    let messages = [frame(b'P', b"p\0SELECT 1\0\0\0"), frame(b'S', b"")];
    socket.write_all(&messages.concat()).await.unwrap();
    assert_eq!(until_ready(&mut socket).await, "1Z");
    socket
        .write_all(&frame(b'Q', b"DEALLOCATE p\0"))
        .await
        .unwrap();
    assert_eq!(until_ready(&mut socket).await, "CZ");
}
