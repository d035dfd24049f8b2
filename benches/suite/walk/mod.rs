//! The limit that queries are compared with: every record of a topic fetched and stepped over.
//!
//! Owns a fetch of its own, independent of the product's: one connection a broker, one request at a
//! time, answers into one buffer; each batch's checksum is checked, no record is decoded.

mod batch;
mod wire;

use std::collections::BTreeMap;
use std::net::TcpStream;

use wire::{Connection, FetchedPartition};

/// Counts the records of a topic, from offset 0 to the ends of its partitions.
///
/// # Errors
/// When a broker does not answer, or with something else than intact records.
pub(crate) fn walk(servers: &str, topic: &str) -> Result<u64, String> {
    let first = servers.split(',').next().unwrap_or_default();
    let brokers = connect(first)?.leaders(topic)?;
    let walked = std::thread::scope(|scope| {
        let walks = brokers.into_iter().map(|(address, partitions)| {
            scope.spawn(move || walk_broker(connect(&address)?, topic, partitions))
        });
        let walks: Vec<_> = walks.collect();
        let ends = walks.into_iter().map(|walk| {
            let ended = walk.join();
            ended.unwrap_or_else(|_| Err("the walk has panicked".to_owned()))
        });
        ends.sum::<Result<u64, String>>()
    });
    walked.map_err(|error| format!("the walk failed: {error}"))
}

fn connect(address: &str) -> Result<Connection, String> {
    let socket = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    Connection::new(socket)
}

/// The same for the partitions that one broker leads.
fn walk_broker(
    mut connection: Connection,
    topic: &str,
    partitions: Vec<i32>,
) -> Result<u64, String> {
    let mut next: BTreeMap<i32, i64> = partitions.into_iter().map(|p| (p, 0)).collect();
    let mut records = 0;
    let mut plain = Vec::new();
    while !next.is_empty() {
        let before = records;
        let asked: Vec<(i32, i64)> = next.iter().map(|(p, offset)| (*p, *offset)).collect();
        let mut ended = Vec::new();
        connection.fetch(topic, &asked, |fetched: FetchedPartition<'_>| {
            let offset = next
                .get_mut(&fetched.partition)
                .ok_or("a partition that was not asked for")?;
            let batches = batch::walk(fetched.records, *offset, &mut plain)?;
            records += batches.records;
            *offset = batches.next;
            if *offset >= fetched.end {
                ended.push(fetched.partition);
            }
            Ok(())
        })?;
        if records == before && ended.is_empty() {
            return Err("a broker gives nothing more before the end".to_owned());
        }
        next.retain(|partition, _| !ended.contains(partition));
    }
    Ok(records)
}
