-- A dead letter that nobody will replay can be put aside.
ALTER TABLE dead_letters ADD COLUMN dismissed_at timestamptz;
CREATE INDEX dead_letters_open ON dead_letters (id)
WHERE replayed_at IS NULL AND dismissed_at IS NULL;
