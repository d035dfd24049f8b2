//! Unpacking batches. Pure.
//!
//! Invariant: at most as many bytes come out as the caller allows, whatever the input says.

use std::io::{self, Read};

/// Snappy as Java's clients frame it: this, two version numbers, then blocks behind their lengths.
const XERIAL: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEAD_BYTES: usize = 16;

/// Appends what `packed` holds to `out`, by the number of the codec in a batch's attributes.
///
/// # Errors
/// An unknown codec, malformed input, or more than `bytes_max` bytes, as a reason.
pub(super) fn unpack(
    codec: i16,
    packed: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), String> {
    let outcome = match codec {
        1 => read_all(flate2::read::MultiGzDecoder::new(packed), out, bytes_max),
        2 => snappy(packed, out, bytes_max),
        3 => read_all(lz4_flex::frame::FrameDecoder::new(packed), out, bytes_max),
        4 => zstd::stream::read::Decoder::with_buffer(packed)
            .and_then(|decoder| read_all(decoder, out, bytes_max)),
        other => return Err(format!("the compression {other} is unknown")),
    };
    outcome.map_err(|error| format!("a batch cannot be unpacked: {error}"))
}

fn read_all(decoder: impl Read, out: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let read = decoder.take(bytes_max as u64 + 1).read_to_end(out)?;
    if read > bytes_max {
        return Err(too_long(bytes_max));
    }
    Ok(())
}

fn snappy(packed: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    if !packed.starts_with(&XERIAL) {
        return snappy_block(packed, out, bytes_max);
    }
    let mut rest = packed
        .get(XERIAL_HEAD_BYTES..)
        .ok_or_else(|| malformed("its head is cut off"))?;
    let start = out.len();
    while let Some((len, blocks)) = rest.split_first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let (block, others) = blocks
            .split_at_checked(len)
            .ok_or_else(|| malformed("a block is cut off"))?;
        let left = bytes_max - (out.len() - start);
        snappy_block(block, out, left)?;
        rest = others;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(malformed("a block is cut off"))
    }
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> io::Result<()> {
    let len = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if len > bytes_max {
        return Err(too_long(bytes_max));
    }
    let start = out.len();
    out.resize(start + len, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(io::Error::other)?;
    out.truncate(start + written);
    Ok(())
}

fn too_long(bytes_max: usize) -> io::Error {
    io::Error::other(format!("it holds more than {bytes_max} bytes"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::other(what)
}

#[cfg(test)]
pub(super) mod testing {
    //! Packing, for the tests of this room.

    use std::io::Write;

    use super::XERIAL;

    /// Packs by the number of the codec; 12 is snappy as Java's clients frame it.
    pub(in crate::source::direct) fn pack(codec: i16, bytes: &[u8]) -> Vec<u8> {
        match codec {
            0 => bytes.to_vec(),
            1 => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(bytes).unwrap();
                gzip.finish().unwrap()
            }
            2 => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            3 => {
                let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
                lz4.write_all(bytes).unwrap();
                lz4.finish().unwrap()
            }
            4 => zstd::encode_all(bytes, 1).unwrap(),
            12 => {
                let mut framed = XERIAL.to_vec();
                framed.extend([0, 0, 0, 1, 0, 0, 0, 1]);
                for block in bytes.chunks(7) {
                    let block = pack(2, block);
                    framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
                    framed.extend(block);
                }
                framed
            }
            other => panic!("no codec {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::pack;
    use super::unpack;

    const CODECS: [(i16, i16); 5] = [(1, 1), (2, 2), (12, 2), (3, 3), (4, 4)];

    #[test]
    fn every_codec_gives_back_what_was_packed_behind_what_is_there() {
        let text = b"the same again and again and again and again".repeat(50);
        for (packing, codec) in CODECS {
            let mut out = b"before".to_vec();
            unpack(codec, &pack(packing, &text), &mut out, text.len()).unwrap();
            assert_eq!(
                out,
                [b"before", text.as_slice()].concat(),
                "codec {packing}"
            );
        }
    }

    #[test]
    fn a_batch_that_unpacks_to_too_much_is_refused() {
        let zeros = vec![0; 1 << 20];
        for (packing, codec) in CODECS {
            let mut out = Vec::new();
            let reason = unpack(codec, &pack(packing, &zeros), &mut out, 1000).unwrap_err();
            assert!(
                reason.ends_with("it holds more than 1000 bytes") || packing == 12,
                "{reason}"
            );
            assert!(out.len() <= 1001, "codec {packing}: {} bytes", out.len());
        }
    }

    #[test]
    fn what_is_cut_off_or_unknown_is_refused() {
        let text = b"the same again and again and again and again".repeat(50);
        for (packing, codec) in CODECS {
            let packed = pack(packing, &text);
            let cut = &packed[..packed.len() - 12];
            let outcome = unpack(codec, cut, &mut Vec::new(), 1 << 20);
            assert!(outcome.is_err(), "codec {packing}");
        }
        assert!(unpack(7, b"", &mut Vec::new(), 10).is_err());
    }
}
