-- Why the chain is searched for what a keychain issued that we do not know of; NULL: it is not.
ALTER TABLE keychain ADD COLUMN recovery TEXT CHECK (recovery IN ('new', 'restored'));

-- Scripts of indexes that are never issued, since they may have been before. Watched for ever.
CREATE TABLE left_out (
    keychain BIGINT NOT NULL REFERENCES keychain (id),
    derivation_index BIGINT NOT NULL,
    script_pubkey TEXT NOT NULL,
    PRIMARY KEY (keychain, derivation_index)
);
