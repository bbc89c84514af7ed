-- Browsers in which an operator signed in with an API key: only the hash of the cookie is kept.
CREATE TABLE operator_session (
    token_hash TEXT PRIMARY KEY NOT NULL,
    api_key TEXT NOT NULL REFERENCES api_key (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX operator_session_by_key ON operator_session (api_key);
CREATE INDEX operator_session_by_end ON operator_session (expires_at);

-- What operators look at: what was done to one thing, the days of the books, who came and went.
CREATE INDEX audit_log_by_subject ON audit_log (subject, id);
CREATE INDEX ledger_entry_by_time ON ledger_entry (happened_at);
CREATE INDEX lease_action_by_time ON lease_action (moment_at);
CREATE INDEX payout_by_txid ON payout (txid);
CREATE INDEX payment_by_script ON payment (script_pubkey);
CREATE INDEX lease_by_end ON lease (state, paid_until_at);
CREATE INDEX event_by_type ON event (type, seq);
