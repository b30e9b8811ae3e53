//! Confluent's wire format: a zero byte, the schema id as a big-endian u32, then the Avro datum.

/// Bytes in front of every datum.
pub const HEADER_LENGTH: usize = 5;

/// Appends the header that names `schema_id`.
#[inline]
pub fn put_header(out: &mut Vec<u8>, schema_id: u32) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
}

/// Splits a payload into its schema id and datum; `None` if it is not in this format.
#[inline]
#[must_use]
pub fn split(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (head, datum) = payload.split_first_chunk::<HEADER_LENGTH>()?;
    let [0, a, b, c, d] = *head else { return None };
    Some((u32::from_be_bytes([a, b, c, d]), datum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips_and_anything_else_is_refused() {
        let mut payload = Vec::new();
        put_header(&mut payload, 0x0102_0304);
        payload.push(9);
        assert_eq!(payload, [0, 1, 2, 3, 4, 9]);
        assert_eq!(split(&payload), Some((0x0102_0304, &[9_u8][..])));
        assert_eq!(split(&[0, 1, 2, 3]), None);
        assert_eq!(split(b"{\"a\":1}"), None);
    }
}
