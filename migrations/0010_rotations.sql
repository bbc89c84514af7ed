-- How often a claim's token was replaced: codes and sessions of the gate from before are worth nothing.
ALTER TABLE claim ADD COLUMN rotations BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gate_code ADD COLUMN rotations BIGINT NOT NULL DEFAULT 0;
