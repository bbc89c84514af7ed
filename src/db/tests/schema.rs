//! The rules of the schema, held against what both databases really made of the migrations.

use std::collections::BTreeSet;

use sqlx::Row;

use crate::db::testing::{each, each_place};
use crate::db::{Backend, Db, migrate};

/// Tables whose rows are numbered by us: logs, keychains, and those with a single row.
const NUMBERED: [&str; 5] = ["write_lock", "tip", "keychain", "ledger_entry", "audit_log"];

/// A column as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    table: String,
    name: String,
    kind: String,
    required: bool,
    in_key: bool,
    default: Option<String>,
}

async fn columns(db: &Db) -> BTreeSet<Column> {
    // The migrator's own table is not ours.
    let text = match db.backend() {
        Backend::Sqlite => {
            "SELECT t.name, c.name, c.type, CAST(c.\"notnull\" AS BIGINT),
                    CAST(c.pk > 0 AS BIGINT), c.dflt_value
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
               AND t.name <> '_sqlx_migrations'"
        }
        Backend::Postgres => {
            "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT),
                    upper(CAST(c.data_type AS TEXT)),
                    CAST(CASE c.is_nullable WHEN 'NO' THEN 1 ELSE 0 END AS BIGINT),
                    CAST((SELECT COUNT(*) FROM information_schema.table_constraints t
                          JOIN information_schema.key_column_usage k
                            ON k.constraint_name = t.constraint_name
                           AND k.table_name = t.table_name
                          WHERE t.constraint_type = 'PRIMARY KEY'
                            AND t.table_name = c.table_name
                            AND k.column_name = c.column_name) AS BIGINT),
                    CAST(c.column_default AS TEXT)
             FROM information_schema.columns c
             WHERE c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations'"
        }
    };
    let mut conn = db.read().await.unwrap();
    let rows = sqlx::query(text).fetch_all(&mut conn).await.unwrap();
    let column = |row: &sqlx::any::AnyRow| Column {
        table: row.get(0),
        name: row.get(1),
        kind: row.get(2),
        required: row.get::<i64, _>(3) == 1,
        in_key: row.get::<i64, _>(4) == 1,
        default: row.get(5),
    };
    rows.iter().map(column).collect()
}

/// What breaks the rules of the schema.
fn faults(columns: &BTreeSet<Column>) -> Vec<String> {
    let mut faults = Vec::new();
    for column in columns {
        let Column { table, name, kind, .. } = column;
        let mut fault = |what: &str| faults.push(format!("{table}.{name} {kind}: {what}"));
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if !word(table) || !word(name) {
            fault("names are in snake_case");
        }
        if kind != "BIGINT" && kind != "TEXT" {
            fault("only BIGINT and TEXT exist");
        }
        if ["_sat", "_s", "_at"].iter().any(|end| name.ends_with(end)) && kind != "BIGINT" {
            fault("amounts, durations and times are BIGINT");
        }
        let id = name == "id" || name.ends_with("_id") || name.ends_with("_hash");
        if id && kind != "TEXT" && !NUMBERED.contains(&table.as_str()) {
            fault("ids and hashes are TEXT");
        }
        if column.in_key && !column.required {
            fault("a primary key says NOT NULL");
        }
        let generated =
            |text: &String| text.contains('(') || text.to_lowercase().contains("current");
        if column.default.as_ref().is_some_and(generated) {
            fault("the database computes nothing by itself");
        }
    }
    let tables: BTreeSet<_> = columns.iter().map(|column| &column.table).collect();
    for table in tables {
        if !columns.iter().any(|column| column.table == *table && column.in_key) {
            faults.push(format!("{table} has no primary key"));
        }
    }
    faults
}

#[test]
fn every_table_keeps_the_rules() {
    each(async |db| {
        let columns = columns(&db).await;
        assert!(columns.iter().any(|column| column.table == "event"), "{columns:?}");
        assert_eq!(faults(&columns), [""; 0]);
    });
}

#[test]
fn the_rules_find_what_breaks_them() {
    each_place(async |place| {
        let node = place.open().await;
        let mut conn = crate::db::open::writer(&node.shared.target).await.unwrap();
        let bad = "CREATE TABLE bad (
                id BIGINT PRIMARY KEY,
                paid_sat TEXT NOT NULL,
                done BOOLEAN,
                created_at BIGINT DEFAULT CURRENT_TIMESTAMP);
            CREATE TABLE keyless (name TEXT)";
        let bad = match node.backend() {
            Backend::Sqlite => bad,
            // A time does not become a number by itself there.
            Backend::Postgres => {
                "CREATE TABLE bad (
                    id BIGINT PRIMARY KEY,
                    paid_sat TEXT NOT NULL,
                    done BOOLEAN,
                    created_at BIGINT DEFAULT EXTRACT(EPOCH FROM now()));
                CREATE TABLE keyless (name TEXT)"
            }
        };
        sqlx::raw_sql(bad).execute(&mut conn).await.unwrap();
        let mut columns = columns(&node).await;
        columns.retain(|column| ["bad", "keyless"].contains(&column.table.as_str()));
        let faults = faults(&columns);
        let mut expected = vec![
            "bad.created_at BIGINT: the database computes nothing by itself",
            "bad.done BOOLEAN: only BIGINT and TEXT exist",
            "bad.id BIGINT: ids and hashes are TEXT",
            "bad.paid_sat TEXT: amounts, durations and times are BIGINT",
            "keyless has no primary key",
        ];
        if node.backend() == Backend::Sqlite {
            expected.insert(3, "bad.id BIGINT: a primary key says NOT NULL");
        }
        assert_eq!(faults, expected);
        node.stop().await;
    });
}

#[test]
fn both_databases_have_the_same_columns() {
    let both = std::sync::Mutex::new(Vec::new());
    each(async |db| {
        let mut columns: Vec<Column> = columns(&db).await.into_iter().collect();
        for column in &mut columns {
            // Each writes a constant in its own way.
            column.default = column.default.take().map(|text| text.replace("::text", ""));
        }
        both.lock().unwrap().push(columns);
    });
    let both = both.into_inner().unwrap();
    if let [sqlite, postgres] = both.as_slice() {
        assert_eq!(sqlite, postgres);
    }
}

#[test]
fn migrations_speak_to_both_databases() {
    for (version, name, text) in migrate::MIGRATIONS {
        let text = text.to_uppercase();
        let foreign =
            ["AUTOINCREMENT", "SERIAL", "BOOLEAN", "NOW(", "JSONB", "TIMESTAMP", "PRAGMA"];
        for word in foreign {
            assert!(!text.contains(word), "{version:04}_{name}: {word}");
        }
    }
}

#[test]
fn migrations_are_numbered_without_a_gap_and_each_has_its_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let built_in: Vec<_> =
        migrate::MIGRATIONS.iter().map(|(n, name, _)| format!("{n:04}_{name}.sql")).collect();
    assert_eq!(files, built_in);
    let numbers: Vec<_> = migrate::MIGRATIONS.iter().map(|(n, ..)| *n).collect();
    assert_eq!(numbers, (1..=migrate::known()).collect::<Vec<_>>());
}
