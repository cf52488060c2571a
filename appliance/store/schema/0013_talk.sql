-- Questions that a language model is asked, what that costs, and what moderating the chat needs.
-- Times are UTC milliseconds.

-- asking: the endpoint owes an answer until deadline_ms; answered, failed: the person owes nobody anything, we
-- owe them the turn that tells; told: they have their one answer. prompt is emptied once nobody needs it.
CREATE TABLE asking (
    id           INTEGER PRIMARY KEY,
    asker        TEXT NOT NULL,
    client_id    INTEGER NOT NULL DEFAULT 0, -- whose rule the text came by; 0: the box's own
    came_by      TEXT NOT NULL,              -- the channel of the text, so that the answer goes the same way
    language     TEXT NOT NULL,
    words        TEXT NOT NULL,              -- as the person texted them
    prompt       TEXT NOT NULL,              -- JSON [[role, text]], nothing personal in it
    facts        TEXT NOT NULL,              -- JSON [[question, answer]] that the answer is held against
    state        TEXT NOT NULL CHECK (state IN ('asking', 'answered', 'failed', 'told')),
    asked_ms     INTEGER NOT NULL,
    deadline_ms  INTEGER NOT NULL,
    settled_ms   INTEGER,
    tries        INTEGER NOT NULL DEFAULT 0, -- requests made, also by a process that was killed
    reserved_in  INTEGER NOT NULL,           -- tokens, counted against the caps while it is asked
    reserved_out INTEGER NOT NULL,
    reserved_cost INTEGER NOT NULL,
    answer       TEXT NOT NULL DEFAULT '',
    reason       TEXT NOT NULL DEFAULT '',   -- why there is no answer, or why it was not used
    told_by      TEXT NOT NULL DEFAULT ''    -- 'model', 'knowledge' or 'person'
) STRICT;
CREATE INDEX asking_open ON asking (id) WHERE state = 'asking';
CREATE INDEX asking_asker ON asking (asker);

-- day: local date. cost: millionths of the currency that the prices are in.
CREATE TABLE model_usage (
    day        TEXT NOT NULL,
    asker      TEXT NOT NULL,
    client_id  INTEGER NOT NULL,
    requests   INTEGER NOT NULL,
    tokens_in  INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL,
    cost       INTEGER NOT NULL,
    PRIMARY KEY (day, asker, client_id)
) STRICT, WITHOUT ROWID;

-- gender: as they say they are; wants: whom they want to meet; '' did not say.
ALTER TABLE chat_person ADD COLUMN gender TEXT NOT NULL DEFAULT '';
ALTER TABLE chat_person ADD COLUMN wants TEXT NOT NULL DEFAULT '';
ALTER TABLE chat_person ADD COLUMN texts_day TEXT NOT NULL DEFAULT ''; -- the local day that `texts` counts
ALTER TABLE chat_person ADD COLUMN texts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE chat_report ADD COLUMN decided_ms INTEGER;
ALTER TABLE chat_report ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';
DROP INDEX chat_waiting;
CREATE INDEX chat_waiting ON chat_person (language, waiting_ms) WHERE waiting_ms IS NOT NULL;
CREATE INDEX chat_live ON chat_pair (id) WHERE ended_ms IS NULL;
CREATE INDEX chat_report_open ON chat_report (id) WHERE state = 'open';
CREATE INDEX chat_report_reported ON chat_report (reported);

-- Texts that a word list stopped or changed.
CREATE TABLE chat_flag (
    id       INTEGER PRIMARY KEY,
    pair_id  INTEGER NOT NULL REFERENCES chat_pair (id),
    number   TEXT NOT NULL,
    at_ms    INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('refused', 'masked')),
    text     TEXT NOT NULL
) STRICT;
CREATE INDEX chat_flag_number ON chat_flag (number);
CREATE INDEX chat_flag_pair ON chat_flag (pair_id);

-- When an admin last got a digest by SMS.
CREATE TABLE chat_digest (
    number  TEXT PRIMARY KEY,
    sent_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
