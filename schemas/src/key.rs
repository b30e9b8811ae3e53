//! Which partition a key goes to: murmur2 as the Java clients compute it (`org.apache.kafka.common.utils.Utils`,
//! librdkafka's `murmur2_random`), so that other tools can join the topics.

use crate::avro::{AvroError, Reader};
use crate::decimal::Magnitude;
use crate::printed::hexadecimal;
use crate::table::Table;
use crate::types::AvroType;

/// Kafka's murmur2 over `data`, seed 0x9747b28c, as an unsigned 32-bit value.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of `key` in a topic of `partitions` partitions (at least 1).
#[must_use]
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// The key's columns and values as text, for errors and for `verify`: `id=5, region='eu'`. A datum that does not fit
/// the definition is shown as hexadecimal.
#[must_use]
pub fn describe(table: &Table, datum: &[u8]) -> String {
    let mut reader = Reader::new(datum);
    let mut parts = Vec::new();
    for column in table.key_columns() {
        match column.column_type.avro().ok().and_then(|avro| value_text(avro, &mut reader).ok()) {
            Some(text) => parts.push(format!("{}={text}", column.name)),
            None => return format!("0x{}", hexadecimal(datum)),
        }
    }
    parts.join(", ")
}

fn value_text(avro: AvroType, reader: &mut Reader<'_>) -> Result<String, AvroError> {
    Ok(match avro {
        AvroType::Int | AvroType::Long | AvroType::DurationMicros => reader.long()?.to_string(),
        AvroType::Date => format!("{} days since 1970-01-01", reader.long()?),
        AvroType::LocalTimestampMicros | AvroType::TimestampMicros => {
            format!("{} microseconds since 1970-01-01", reader.long()?)
        }
        AvroType::Float => reader.float()?.to_string(),
        AvroType::Double => reader.double()?.to_string(),
        AvroType::String => format!("{:?}", String::from_utf8_lossy(reader.bytes()?)),
        AvroType::Bytes => format!("0x{}", hexadecimal(reader.bytes()?)),
        AvroType::Decimal { scale, .. } => {
            let (negative, magnitude) =
                Magnitude::from_twos_complement(reader.bytes()?).ok_or(AvroError::BadLength)?;
            magnitude.to_text(negative, scale)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn the_hash_is_the_one_of_the_java_client() {
        for (text, expected) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
        }
    }
}
