-- What the database machinery itself needs. Two column types: BIGINT and TEXT.

-- Small single facts, such as the mark of a backup.
CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

-- One row. Whoever changes it first in a transaction is the one writer on PostgreSQL.
CREATE TABLE write_lock (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    n BIGINT NOT NULL
);

INSERT INTO write_lock (id, n) VALUES (1, 0);

-- The event log: numbered without a gap, in commit order, never changed.
CREATE TABLE event (
    seq BIGINT PRIMARY KEY NOT NULL CHECK (seq > 0),
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    happened_at BIGINT NOT NULL,
    subject TEXT NOT NULL,
    resource TEXT,
    data TEXT NOT NULL
);

CREATE INDEX event_by_subject ON event (subject, seq);

CREATE INDEX event_by_resource ON event (resource, seq);
