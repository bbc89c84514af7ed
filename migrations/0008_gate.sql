-- Codes with which a browser gets a gate session: each works once, on any server. Only hashes.
CREATE TABLE gate_code (
    code_hash TEXT PRIMARY KEY NOT NULL,
    lease TEXT NOT NULL REFERENCES lease (id),
    generation BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX gate_code_by_end ON gate_code (expires_at);
