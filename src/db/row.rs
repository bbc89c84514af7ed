//! Reading a row into checked values. A stored value that does not fit is `DbError::Corrupt`.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::DbError;
use crate::domain::time::Timestamp;

/// A row of a named table, for messages that say where a bad value stands.
pub(super) struct Row<'r> {
    row: &'r AnyRow,
    table: &'static str,
}

impl<'r> Row<'r> {
    pub(super) fn new(row: &'r AnyRow, table: &'static str) -> Self {
        Self { row, table }
    }

    fn corrupt(&self, column: &'static str) -> DbError {
        let id = self
            .row
            .try_get::<String, _>(0)
            .or_else(|_| self.row.try_get::<i64, _>(0).map(|id| id.to_string()))
            .unwrap_or_default();
        DbError::Corrupt { table: self.table, column, id }
    }

    pub(super) fn i64(&self, column: &'static str) -> Result<i64, DbError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    pub(super) fn opt_i64(&self, column: &'static str) -> Result<Option<i64>, DbError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    pub(super) fn u64(&self, column: &'static str) -> Result<u64, DbError> {
        u64::try_from(self.i64(column)?).map_err(|_| self.corrupt(column))
    }

    pub(super) fn u32(&self, column: &'static str) -> Result<u32, DbError> {
        u32::try_from(self.i64(column)?).map_err(|_| self.corrupt(column))
    }

    pub(super) fn opt_u64(&self, column: &'static str) -> Result<Option<u64>, DbError> {
        self.opt_i64(column)?
            .map(|value| u64::try_from(value).map_err(|_| self.corrupt(column)))
            .transpose()
    }

    pub(super) fn opt_u32(&self, column: &'static str) -> Result<Option<u32>, DbError> {
        self.opt_i64(column)?
            .map(|value| u32::try_from(value).map_err(|_| self.corrupt(column)))
            .transpose()
    }

    pub(super) fn at(&self, column: &'static str) -> Result<Timestamp, DbError> {
        self.i64(column).map(Timestamp::from_millis)
    }

    pub(super) fn opt_at(&self, column: &'static str) -> Result<Option<Timestamp>, DbError> {
        Ok(self.opt_i64(column)?.map(Timestamp::from_millis))
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, DbError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    pub(super) fn opt_text(&self, column: &'static str) -> Result<Option<String>, DbError> {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    /// A TEXT column through a parser.
    pub(super) fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, DbError> {
        parse(&self.text(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// A nullable TEXT column through a parser.
    pub(super) fn opt_parsed<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, DbError> {
        match self.opt_text(column)? {
            Some(text) => parse(&text).map(Some).ok_or_else(|| self.corrupt(column)),
            None => Ok(None),
        }
    }

    /// A TEXT column that holds a JSON document.
    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, DbError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.corrupt(column))
    }
}

/// An unsigned number as BIGINT. No amount, height or duration comes near the limit.
pub(super) fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// Ids in one statement: few sizes, so that each connection prepares few texts.
const SIZES: [usize; 3] = [64, 8, 1];

/// `ids` in parts, each with the places for them in a statement: `$1, $2`.
pub(super) fn parts<T>(mut ids: &[T]) -> impl Iterator<Item = (&[T], String)> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= ids.len())?;
        let (part, rest) = ids.split_at(size);
        ids = rest;
        let places: Vec<String> = (1..=size).map(|n| format!("${n}")).collect();
        Some((part, places.join(", ")))
    })
}

/// A document as TEXT.
pub(super) fn doc<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("documents of ours have string keys only")
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Lower-case hex as bytes.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()
}
