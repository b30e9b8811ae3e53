//! PostgreSQL's binary COPY read back: runs of bytes enter, cut anywhere; tuples leave, and the fields of a tuple.
//! The server is not trusted: what is no COPY is an error, never a panic.

use thiserror::Error;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const HEADER: usize = SIGNATURE.len() + 8;

/// Bytes that are no binary COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the destination's answer to COPY is not in the binary format")]
pub struct NotCopy;

/// Puts tuples together.
#[derive(Debug, Default)]
pub struct Tuples {
    buffer: Vec<u8>,
    at: usize,
    begun: bool,
    ended: bool,
}

impl Tuples {
    /// Adds what the server sent.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next tuple that is complete: its fields. `None` until more is fed.
    ///
    /// # Errors
    /// [`NotCopy`].
    pub fn next_tuple(&mut self) -> Result<Option<Fields<'_>>, NotCopy> {
        if !self.begun {
            let Some(header) = self.buffer.get(..HEADER) else { return Ok(None) };
            let extension = header.last_chunk::<4>().map(|length| u32::from_be_bytes(*length));
            if !header.starts_with(SIGNATURE) || extension != Some(0) {
                return Err(NotCopy);
            }
            self.begun = true;
            self.at = HEADER;
        }
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let Some((count, body)) = rest.split_first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        if count == -1 && body.is_empty() {
            self.ended = true;
            return Ok(None);
        }
        let count = u16::try_from(count).map_err(|_| NotCopy)?;
        let mut fields = Fields { rest: body, left: count };
        loop {
            match fields.step() {
                Step::Field(_) => {}
                Step::Cut => return Ok(None),
                Step::Broken => return Err(NotCopy),
                Step::End => break,
            }
        }
        let length = body.len() - fields.rest.len();
        self.at += 2 + length;
        Ok(Some(Fields { rest: body.get(..length).unwrap_or_default(), left: count }))
    }

    /// True if the trailer has come, and nothing behind it.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The fields of one tuple; `None` is NULL.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
    left: u16,
}

enum Step<'a> {
    Field(Option<&'a [u8]>),
    Cut,
    Broken,
    End,
}

impl<'a> Fields<'a> {
    /// The fields of a tuple that `TransferPlan` has written: the number of fields, then the fields.
    #[must_use]
    pub fn of_tuple(tuple: &'a [u8]) -> Self {
        tuple.split_first_chunk::<2>().map_or(Self { rest: &[], left: 0 }, |(count, rest)| Self {
            rest,
            left: u16::from_be_bytes(*count),
        })
    }

    fn step(&mut self) -> Step<'a> {
        if self.left == 0 {
            return Step::End;
        }
        let Some((length, rest)) = self.rest.split_first_chunk::<4>() else { return Step::Cut };
        let length = i32::from_be_bytes(*length);
        let field = if length == -1 {
            self.rest = rest;
            None
        } else {
            let Ok(length) = usize::try_from(length) else { return Step::Broken };
            let Some((field, rest)) = rest.split_at_checked(length) else { return Step::Cut };
            self.rest = rest;
            Some(field)
        };
        self.left -= 1;
        Step::Field(field)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Step::Field(field) => Some(field),
            Step::Cut | Step::Broken | Step::End => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::copy;
    use proptest::prelude::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn written(rows: &[Row]) -> Vec<u8> {
        let mut out = Vec::new();
        copy::put_header(&mut out);
        for row in rows {
            copy::put_tuple(&mut out, u16::try_from(row.len()).unwrap());
            for field in row {
                match field {
                    Some(bytes) => copy::put_bytes(&mut out, bytes).unwrap(),
                    None => copy::put_null(&mut out),
                }
            }
        }
        copy::put_trailer(&mut out);
        out
    }

    proptest! {
        #[test]
        fn tuples_come_back_however_the_stream_is_cut(
            rows in prop::collection::vec(prop::collection::vec(any::<Option<Vec<u8>>>(), 1..4), 0..6),
            piece in 1_usize..40,
        ) {
            let mut tuples = Tuples::default();
            let mut read: Vec<Row> = Vec::new();
            for bytes in written(&rows).chunks(piece) {
                tuples.feed(bytes);
                while let Some(fields) = tuples.next_tuple().unwrap() {
                    read.push(fields.map(|field| field.map(<[u8]>::to_vec)).collect());
                }
            }
            prop_assert_eq!(read, rows);
            prop_assert!(tuples.is_ended());
        }

        #[test]
        fn anything_is_taken_without_a_panic(bytes: Vec<u8>, behind_header: bool) {
            let mut tuples = Tuples::default();
            if behind_header {
                tuples.feed(written(&[]).get(..HEADER).unwrap());
                let _ = tuples.next_tuple();
            }
            tuples.feed(&bytes);
            while let Ok(Some(_)) = tuples.next_tuple() {}
        }
    }

    #[test]
    fn another_format_is_refused() {
        let mut tuples = Tuples::default();
        tuples.feed(&[b'1'; HEADER]);
        assert_eq!(tuples.next_tuple().err(), Some(NotCopy));
        assert!(!tuples.is_ended());
    }
}
