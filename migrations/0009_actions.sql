-- Patience with an action begins with its first attempt, not with its cause: what waits behind another
-- has not been tried. Of that attempt also what it said about the end. A key names one action.
ALTER TABLE action ADD COLUMN tried_at BIGINT;
ALTER TABLE action ADD COLUMN told_until_at BIGINT;
CREATE UNIQUE INDEX action_by_key ON action (subject, generation, action, n);
