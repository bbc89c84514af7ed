-- Patience with an action begins with its first attempt, not with its cause: what waits behind another
-- has not been tried. A key names one action.
ALTER TABLE action ADD COLUMN tried_at BIGINT;
CREATE UNIQUE INDEX action_by_key ON action (subject, generation, action, n);
