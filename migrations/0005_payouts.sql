-- What is owed to somebody and what became of it. An open one follows what is owed; in a batch it
-- is fixed. recipient: '' for the subject's own, else the invoice that named another address.
CREATE TABLE payout (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('refund')),
    subject TEXT NOT NULL,
    recipient TEXT NOT NULL,
    resource TEXT,
    claim TEXT REFERENCES claim (id),
    address TEXT,
    amount_sat BIGINT NOT NULL,
    ready_sat BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('waiting', 'due', 'prepared', 'broadcast', 'confirmed')),
    dust_at BIGINT,
    batch TEXT,
    txid TEXT,
    announced TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX payout_by_subject ON payout (subject);
CREATE INDEX payout_by_claim ON payout (claim, created_at);
CREATE INDEX payout_by_state ON payout (state, created_at);
CREATE INDEX payout_by_address ON payout (address, state);
CREATE INDEX payout_by_created ON payout (created_at, id);

-- Payouts that leave together. Every version is a transaction of its own; all that pay the same
-- payout spend a coin in common with each other.
CREATE TABLE payout_batch (
    id TEXT PRIMARY KEY NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('prepared', 'broadcast', 'confirmed', 'abandoned', 'replaced', 'conflicted')),
    fee_policy TEXT NOT NULL CHECK (fee_policy IN ('recipient', 'sender')),
    created_at BIGINT NOT NULL,
    abandoned_at BIGINT,
    replaced_by TEXT,
    places TEXT NOT NULL,
    next_height BIGINT
);
CREATE INDEX payout_batch_by_height ON payout_batch (next_height);
CREATE INDEX payout_batch_by_state ON payout_batch (state);
CREATE INDEX payout_batch_by_created ON payout_batch (created_at, id);

-- txid: of the signed transaction; unsigned_txid: of the one in the PSBT (they differ in sh(wsh)).
CREATE TABLE payout_version (
    batch TEXT NOT NULL REFERENCES payout_batch (id),
    n BIGINT NOT NULL,
    txid TEXT NOT NULL UNIQUE REFERENCES tx (txid),
    unsigned_txid TEXT NOT NULL UNIQUE,
    psbt TEXT NOT NULL,
    fee_sat BIGINT NOT NULL,
    weight BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    approved_by TEXT,
    submitted_at BIGINT,
    change_script TEXT,
    PRIMARY KEY (batch, n)
);
CREATE INDEX payout_version_by_change ON payout_version (change_script);

-- What a version pays to whom: amount_sat is taken from what is owed, fee_sat of it is the fee.
CREATE TABLE payout_item (
    batch TEXT NOT NULL,
    n BIGINT NOT NULL,
    payout TEXT NOT NULL REFERENCES payout (id),
    vout BIGINT NOT NULL,
    amount_sat BIGINT NOT NULL,
    fee_sat BIGINT NOT NULL,
    PRIMARY KEY (batch, n, payout),
    FOREIGN KEY (batch, n) REFERENCES payout_version (batch, n)
);
CREATE INDEX payout_item_by_payout ON payout_item (payout);

-- The internal branch is our change: each batch takes the next index.
ALTER TABLE keychain ADD COLUMN next_internal BIGINT NOT NULL DEFAULT 0;
CREATE INDEX payment_by_place ON payment (keychain, branch, derivation_index);

-- Where the money of a payment without a lease is, once part of it has left.
ALTER TABLE payment ADD COLUMN books TEXT;

-- What was owed before there were payouts is found at the first settling.
UPDATE lease SET next_height = 0 WHERE state = 'ended';
UPDATE payment SET next_height = 0 WHERE refund_address IS NOT NULL;
