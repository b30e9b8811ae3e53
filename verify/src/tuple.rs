//! The fields of a tuple that `TransferPlan` has written for COPY. What is cut short ends early, never in a panic.

/// The fields of one tuple; `None` is NULL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Fields<'a> {
    /// The fields of a tuple that `TransferPlan` has written: the number of fields, then the fields.
    #[must_use]
    pub(crate) fn of_tuple(tuple: &'a [u8]) -> Self {
        tuple.split_first_chunk::<2>().map_or(Self { rest: &[], left: 0 }, |(count, rest)| Self {
            rest,
            left: u16::from_be_bytes(*count),
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            self.rest = rest;
            return Some(None);
        }
        let (field, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(Some(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_warehouse::merge::copy;

    proptest! {
        #[test]
        fn fields_come_back_as_they_were_written(row in prop::collection::vec(any::<Option<Vec<u8>>>(), 0..6)) {
            let mut tuple = Vec::new();
            copy::put_tuple(&mut tuple, u16::try_from(row.len()).unwrap());
            for field in &row {
                match field {
                    Some(bytes) => copy::put_bytes(&mut tuple, bytes).unwrap(),
                    None => copy::put_null(&mut tuple),
                }
            }
            let read: Vec<Option<Vec<u8>>> =
                Fields::of_tuple(&tuple).map(|field| field.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, row);
        }

        #[test]
        fn any_bytes_are_taken_without_a_panic(bytes: Vec<u8>) {
            let _ = Fields::of_tuple(&bytes).count();
        }
    }
}
