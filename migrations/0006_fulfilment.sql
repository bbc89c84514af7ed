-- What a provisioner has to be told of a subject, in the order of ordinal: written with its cause,
-- claimed for a time, done at least once. due_at of one that failed for good is when it is given up.
CREATE TABLE action (
    id TEXT PRIMARY KEY NOT NULL,
    subject TEXT NOT NULL,
    ordinal BIGINT NOT NULL,
    resource TEXT NOT NULL REFERENCES resource (id),
    unit TEXT,
    generation BIGINT NOT NULL,
    action TEXT NOT NULL CHECK (action IN
        ('provision', 'extend', 'suspend', 'resume', 'update', 'release')),
    n BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    claimed_until_at BIGINT,
    attempt BIGINT NOT NULL,
    failed_at BIGINT,
    failure TEXT,
    done_at BIGINT,
    outcome TEXT CHECK (outcome IN ('done', 'failed', 'superseded', 'forced')),
    UNIQUE (subject, ordinal)
);
CREATE INDEX action_by_due ON action (done_at, due_at);
CREATE INDEX action_by_subject ON action (subject, done_at, ordinal);
CREATE INDEX action_by_failure ON action (failed_at, done_at);
CREATE INDEX action_by_created ON action (created_at, id);

-- What a provisioner answered: for the holder only.
CREATE TABLE lease_access (
    lease TEXT PRIMARY KEY NOT NULL REFERENCES lease (id),
    generation BIGINT NOT NULL,
    doc TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
