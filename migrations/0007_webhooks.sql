-- Where operators want to hear of events. It is signed with the secrets, so they are stored as they
-- are; old_secret signs too until a rotation is over. looked_at_seq: the last event that was looked
-- at for it; types: '' for all.
CREATE TABLE webhook (
    id TEXT PRIMARY KEY NOT NULL,
    url TEXT NOT NULL,
    types TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'disabled', 'deleted')),
    why TEXT,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_secret_until_at BIGINT,
    looked_at_seq BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX webhook_by_state ON webhook (state);
CREATE INDEX webhook_by_created ON webhook (created_at, id);

-- One event for one endpoint. attempts: ever made; tries: since it was last asked for.
CREATE TABLE delivery (
    id TEXT PRIMARY KEY NOT NULL,
    webhook TEXT NOT NULL REFERENCES webhook (id),
    event BIGINT NOT NULL REFERENCES event (seq),
    status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    claimed_until_at BIGINT,
    response_status BIGINT,
    latency_ms BIGINT,
    failure TEXT,
    created_at BIGINT NOT NULL,
    done_at BIGINT,
    UNIQUE (webhook, event)
);
CREATE INDEX delivery_by_due ON delivery (webhook, status, due_at);
CREATE INDEX delivery_by_status ON delivery (status, created_at, id);
CREATE INDEX delivery_by_created ON delivery (created_at, id);
CREATE INDEX delivery_by_done ON delivery (done_at);

-- What came of each attempt: the log of an operator who looks for a mistake.
CREATE TABLE delivery_attempt (
    delivery TEXT NOT NULL REFERENCES delivery (id),
    n BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT NOT NULL,
    response_status BIGINT,
    response TEXT NOT NULL,
    failure TEXT,
    PRIMARY KEY (delivery, n)
);

-- Deliveries are asked for again since a time.
CREATE INDEX event_by_time ON event (happened_at, seq);
