//! `sql_mode` as a QUERY event has it: what of it changes how a statement is read, and what its values become.

/// The bits of `sql_mode` (MySQL's `system_variables.h`); unknown where the event does not carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqlMode(Option<u64>);

impl SqlMode {
    const REAL_AS_FLOAT: u64 = 1;
    const ANSI_QUOTES: u64 = 1 << 2;
    const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
    const STRICT_TRANS_TABLES: u64 = 1 << 21;
    const STRICT_ALL_TABLES: u64 = 1 << 22;
    const PAD_CHAR_TO_FULL_LENGTH: u64 = 1 << 31;

    /// The bits of an event.
    #[must_use]
    pub const fn new(bits: Option<u64>) -> Self {
        Self(bits)
    }

    const fn has(self, bits: u64) -> bool {
        match self.0 {
            Some(mode) => mode & bits != 0,
            None => false,
        }
    }

    /// True if a value out of range is an error. Unknown counts as lax: then less is certain.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        self.has(Self::STRICT_TRANS_TABLES | Self::STRICT_ALL_TABLES)
    }

    /// True if a CHAR is read with the spaces that fill it up.
    #[must_use]
    pub const fn pads_char(self) -> bool {
        self.0.is_none() || self.has(Self::PAD_CHAR_TO_FULL_LENGTH)
    }

    /// True if double quotes enclose a name.
    pub(super) const fn ansi_quotes(self) -> bool {
        self.has(Self::ANSI_QUOTES)
    }

    /// True if a backslash in a string stands for itself; `None` if that is not known.
    pub(super) const fn plain_backslashes(self) -> Option<bool> {
        match self.0 {
            Some(mode) => Some(mode & Self::NO_BACKSLASH_ESCAPES != 0),
            None => None,
        }
    }

    /// True if REAL is FLOAT.
    pub(super) const fn real_as_float(self) -> bool {
        self.has(Self::REAL_AS_FLOAT)
    }
}
