-- Keychains: descriptors that addresses were issued from. The newest one issues.
CREATE TABLE keychain (
    id BIGINT PRIMARY KEY NOT NULL,
    identity TEXT NOT NULL UNIQUE,
    descriptor TEXT NOT NULL,
    next_index BIGINT NOT NULL,
    highest_seen_index BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Every block applied since the first, and the tip as one row to compare and swap.
CREATE TABLE block (
    height BIGINT PRIMARY KEY NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    header_at BIGINT NOT NULL,
    mtp_at BIGINT NOT NULL,
    moment_at BIGINT NOT NULL
);
CREATE TABLE tip (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    height BIGINT NOT NULL,
    hash TEXT NOT NULL,
    look_at BIGINT
);

-- The catalogue: resources and every version of their terms.
CREATE TABLE resource (
    id TEXT PRIMARY KEY NOT NULL,
    place BIGINT NOT NULL,
    terms_version BIGINT NOT NULL,
    paused_at BIGINT,
    retired_at BIGINT
);
CREATE TABLE terms (
    resource TEXT NOT NULL REFERENCES resource (id),
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (resource, version)
);

-- Who may manage what: only the hash of a claim token is kept.
CREATE TABLE claim (
    id TEXT PRIMARY KEY NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    refund_address TEXT,
    payout_address TEXT,
    created_at BIGINT NOT NULL
);

-- A lease: its request, and a projection of where it stands, written by the fold.
-- next_change_at and next_height say when the clock or the chain alone may change it;
-- next_height = 0 means that a fact has changed and it must be settled.
CREATE TABLE lease (
    id TEXT PRIMARY KEY NOT NULL,
    resource TEXT NOT NULL REFERENCES resource (id),
    terms_version BIGINT NOT NULL,
    claim TEXT NOT NULL REFERENCES claim (id),
    params TEXT NOT NULL,
    source TEXT,
    no_hold_at BIGINT,
    created_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('unfunded', 'provisioning', 'active', 'grace', 'ended', 'suspended')),
    generation BIGINT NOT NULL,
    unit TEXT,
    paid_until_at BIGINT,
    waits_since_at BIGINT,
    next_change_at BIGINT,
    next_height BIGINT,
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX lease_by_change ON lease (next_change_at);
CREATE INDEX lease_by_height ON lease (next_height);
CREATE INDEX lease_by_claim ON lease (claim);
CREATE INDEX lease_by_resource ON lease (resource, state);
CREATE INDEX lease_by_created ON lease (created_at, id);
CREATE INDEX lease_by_waiting ON lease (resource, waits_since_at);

-- Units of exclusive resources that are not free.
CREATE TABLE unit (
    resource TEXT NOT NULL REFERENCES resource (id),
    name TEXT NOT NULL,
    lease TEXT NOT NULL REFERENCES lease (id),
    state TEXT NOT NULL CHECK (state IN ('held', 'leased', 'stuck')),
    PRIMARY KEY (resource, name)
);
CREATE INDEX unit_by_lease ON unit (lease);

-- Invoices: one address each.
CREATE TABLE invoice (
    id TEXT PRIMARY KEY NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('lease', 'topup')),
    lease TEXT NOT NULL REFERENCES lease (id),
    resource TEXT NOT NULL,
    terms_version BIGINT NOT NULL,
    keychain BIGINT NOT NULL REFERENCES keychain (id),
    derivation_index BIGINT NOT NULL,
    script_pubkey TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL,
    amount_sat BIGINT NOT NULL,
    price_sat BIGINT NOT NULL,
    price_per_s BIGINT NOT NULL,
    refund_address TEXT,
    source TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    cancelled_at BIGINT,
    funded_at BIGINT,
    status TEXT NOT NULL CHECK (status IN
        ('settled', 'confirming', 'cancelled', 'open', 'expired')),
    seq BIGINT NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (keychain, derivation_index)
);
CREATE INDEX invoice_by_lease ON invoice (lease, created_at);
CREATE INDEX invoice_by_address ON invoice (address);
CREATE INDEX invoice_by_created ON invoice (created_at, id);
CREATE INDEX invoice_by_expiry ON invoice (funded_at, expires_at);

-- Transactions that pay us, and where they are. Kept for ever, with their bytes.
CREATE TABLE tx (
    txid TEXT PRIMARY KEY NOT NULL,
    raw TEXT NOT NULL,
    coinbase BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    prior_look_at BIGINT,
    mempool_at BIGINT,
    height BIGINT,
    position BIGINT,
    mtp_at BIGINT,
    moment_at BIGINT,
    conflict_txid TEXT,
    conflict_height BIGINT,
    absent_since_height BIGINT,
    left_chain_height BIGINT,
    unconfirmed_inputs BIGINT,
    feerate_msat BIGINT
);
CREATE INDEX tx_by_height ON tx (height);
CREATE INDEX tx_by_conflict_height ON tx (conflict_height);
CREATE TABLE tx_input (
    prev_txid TEXT NOT NULL,
    prev_vout BIGINT NOT NULL,
    txid TEXT NOT NULL REFERENCES tx (txid),
    PRIMARY KEY (prev_txid, prev_vout, txid)
);
CREATE INDEX tx_input_by_txid ON tx_input (txid);

-- Payments: outputs that pay an address of ours.
CREATE TABLE payment (
    id TEXT PRIMARY KEY NOT NULL,
    txid TEXT NOT NULL REFERENCES tx (txid),
    vout BIGINT NOT NULL,
    script_pubkey TEXT NOT NULL,
    amount_sat BIGINT NOT NULL,
    keychain BIGINT NOT NULL,
    branch BIGINT NOT NULL,
    derivation_index BIGINT NOT NULL,
    invoice TEXT REFERENCES invoice (id),
    lease TEXT REFERENCES lease (id),
    lineage_seen_at BIGINT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    assigned_at BIGINT,
    refund_address TEXT,
    state TEXT NOT NULL CHECK (state IN ('mempool', 'confirming', 'credited', 'final', 'gone',
        'conflicted', 'replaced', 'reversed')),
    confirmed_block TEXT,
    at_risk_block TEXT,
    replaced_by TEXT,
    booked_sat BIGINT NOT NULL,
    next_height BIGINT,
    UNIQUE (txid, vout)
);
CREATE INDEX payment_by_lease ON payment (lease);
CREATE INDEX payment_by_invoice ON payment (invoice);
CREATE INDEX payment_by_seen ON payment (first_seen_at, id);
CREATE INDEX payment_by_state ON payment (state);
CREATE INDEX payment_by_height ON payment (next_height);

-- What happened to a lease, in fold order: credits (with reversals and restorations) and
-- actions share the numbering n. Append-only.
CREATE TABLE credit (
    lease TEXT NOT NULL REFERENCES lease (id),
    n BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('credit', 'reversal', 'restoration')),
    payment TEXT NOT NULL REFERENCES payment (id),
    moment_at BIGINT NOT NULL,
    seconds BIGINT NOT NULL,
    amount_sat BIGINT NOT NULL,
    price_sat BIGINT NOT NULL,
    price_per_s BIGINT NOT NULL,
    buys TEXT NOT NULL CHECK (buys IN ('time', 'refund')),
    height BIGINT NOT NULL,
    unmined BIGINT NOT NULL,
    PRIMARY KEY (lease, n)
);
CREATE UNIQUE INDEX credit_once ON credit (payment) WHERE kind = 'credit';
CREATE TABLE lease_action (
    lease TEXT NOT NULL REFERENCES lease (id),
    n BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('started', 'ready', 'suspended', 'resumed', 'returned',
        'revoked', 'failed', 'expired')),
    moment_at BIGINT NOT NULL,
    generation BIGINT,
    unit TEXT,
    terms_version BIGINT,
    PRIMARY KEY (lease, n)
);

-- The books. Lines of an entry sum to zero.
CREATE TABLE ledger_entry (
    id BIGINT PRIMARY KEY NOT NULL,
    happened_at BIGINT NOT NULL,
    resource TEXT,
    subject TEXT NOT NULL
);
CREATE INDEX ledger_entry_by_subject ON ledger_entry (subject);
CREATE TABLE ledger_line (
    entry BIGINT NOT NULL REFERENCES ledger_entry (id),
    account TEXT NOT NULL,
    amount_sat BIGINT NOT NULL,
    PRIMARY KEY (entry, account)
);
CREATE TABLE ledger_sum (
    resource TEXT NOT NULL,
    account TEXT NOT NULL,
    amount_sat BIGINT NOT NULL,
    PRIMARY KEY (resource, account)
);

-- Effects that have to leave: written with their cause, claimed for a time, done at least once.
CREATE TABLE work (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    claimed_until_at BIGINT,
    attempt BIGINT NOT NULL,
    done_at BIGINT,
    failure TEXT,
    UNIQUE (kind, subject)
);
CREATE INDEX work_by_due ON work (done_at, due_at);

-- Answers to creating requests, kept for a day, without secrets.
CREATE TABLE idempotency (
    key_hash TEXT PRIMARY KEY NOT NULL,
    body_hash TEXT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX idempotency_by_created ON idempotency (created_at);

CREATE TABLE api_key (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE audit_log (
    id BIGINT PRIMARY KEY NOT NULL,
    happened_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
