-- A dead letter that nobody will replay can be put aside.
ALTER TABLE dead_letter ADD COLUMN dismissed_at INTEGER;
DROP INDEX dead_letter_waiting;
CREATE INDEX dead_letter_open ON dead_letter (id)
WHERE replayed_at IS NULL AND dismissed_at IS NULL;
