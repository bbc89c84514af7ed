//! Many rows in one statement, with the same text on both databases.
//! Statements come in three sizes only (64, 8 and 1 rows), so that each connection prepares them
//! once and keeps them. Every table file that inserts lists uses this.

use std::sync::OnceLock;

use sqlx::any::{Any, AnyArguments};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{Conn, DbError};

/// Rows per statement, largest first.
const SIZES: [usize; 3] = [64, 8, 1];

/// A query on either database, while its values are being bound.
pub type AnyQuery<'q> = Query<'q, Any, AnyArguments>;

/// The text of a multi-row `INSERT`, kept in a `static`:
/// `static NOTES: Insert = Insert::new("INSERT INTO note (id, text) VALUES", 2, "");`
#[derive(Debug)]
pub struct Insert {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<SqlStr>; SIZES.len()],
}

impl Insert {
    /// `head` ends in `VALUES`; `columns` is how many values each row binds;
    /// `tail` is what follows the rows, such as `ON CONFLICT (id) DO NOTHING`.
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Insert {
        Insert { head, columns, tail, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    /// Inserts all `rows` in order; `bind` binds the values of one row, exactly `columns` of them.
    /// Returns how many rows were written.
    ///
    /// # Errors
    /// Those of the statements; rows before the failing statement are written.
    pub async fn run<T>(
        &'static self,
        conn: &mut Conn,
        rows: &[T],
        bind: impl for<'q> Fn(AnyQuery<'q>, &T) -> AnyQuery<'q>,
    ) -> Result<u64, DbError> {
        let mut written = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let (size, text) = self.largest(rest.len());
            let (chunk, after) = rest.split_at(size);
            let query = chunk.iter().fold(sqlx::query(text.clone()), &bind);
            written += query.execute(&mut *conn).await?.rows_affected();
            rest = after;
        }
        Ok(written)
    }

    fn largest(&'static self, rows: usize) -> (usize, &'static SqlStr) {
        let at = SIZES.iter().position(|&size| size <= rows).expect("1 is the last size");
        (SIZES[at], self.texts[at].get_or_init(|| self.text(SIZES[at])))
    }

    fn text(&self, rows: usize) -> SqlStr {
        let row = |row: usize| {
            let places: Vec<String> =
                (1..=self.columns).map(|n| format!("${}", row * self.columns + n)).collect();
            format!("({})", places.join(", "))
        };
        let all: Vec<String> = (0..rows).map(row).collect();
        // Only the texts of this program and numbers are in it.
        AssertSqlSafe(format!("{} {} {}", self.head, all.join(", "), self.tail)).into_sql_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Insert = Insert::new("INSERT INTO t (a, b) VALUES", 2, "ON CONFLICT DO NOTHING");

    #[test]
    fn places_are_numbered_through_all_rows() {
        let one = "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        assert_eq!(PAIRS.text(1).as_str(), one);
        assert!(PAIRS.text(8).as_str().contains("($3, $4), ($5, $6)"));
        assert!(PAIRS.text(64).as_str().contains("($127, $128) ON"));
    }

    #[test]
    fn a_list_is_cut_into_the_three_sizes() {
        let mut left = 150;
        let mut sizes = Vec::new();
        while left > 0 {
            let (size, _) = PAIRS.largest(left);
            sizes.push(size);
            left -= size;
        }
        assert_eq!(sizes, [64, 64, 8, 8, 1, 1, 1, 1, 1, 1]);
    }
}
