-- Anonymous chat, the assistant's knowledge, and what a bus operator needs beyond selling a seat.
-- Times are UTC milliseconds, money is santim.

-- Who is in the chat service: known to others by the alias only.
CREATE TABLE chat_person (
    number        TEXT PRIMARY KEY,
    alias         TEXT NOT NULL,
    language      TEXT NOT NULL,
    topic         TEXT NOT NULL DEFAULT '', -- folded; '' talks about anything
    waiting_ms    INTEGER,                  -- since when they wait; NULL: they do not
    banned_ms     INTEGER,                  -- until when they may not chat
    ban_reason    TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX chat_waiting ON chat_person (waiting_ms) WHERE waiting_ms IS NOT NULL;

CREATE TABLE chat_pair (
    id         INTEGER PRIMARY KEY,
    began_ms   INTEGER NOT NULL,
    ended_ms   INTEGER,
    ended_by   TEXT NOT NULL DEFAULT '',
    last_ms    INTEGER NOT NULL,            -- of the last text either said
    texts      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Who talks now. The key keeps everybody in one pair at most; a pair that ended has no members.
CREATE TABLE chat_member (
    number   TEXT PRIMARY KEY REFERENCES chat_person (number),
    pair_id  INTEGER NOT NULL REFERENCES chat_pair (id),
    side     INTEGER NOT NULL CHECK (side IN (0, 1)),
    shares   INTEGER NOT NULL DEFAULT 0,    -- said SHARE: numbers pass when both did
    UNIQUE (pair_id, side)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER chat_member_does_not_wait BEFORE INSERT ON chat_member
WHEN EXISTS (SELECT 1 FROM chat_person WHERE number = NEW.number AND waiting_ms IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'chat: somebody who waits cannot be in a pair'); END;

CREATE TRIGGER chat_waiter_has_no_pair BEFORE UPDATE OF waiting_ms ON chat_person
WHEN NEW.waiting_ms IS NOT NULL AND EXISTS (SELECT 1 FROM chat_member WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'chat: somebody in a pair cannot wait'); END;

CREATE TRIGGER chat_pair_ends_for_both AFTER UPDATE OF ended_ms ON chat_pair
WHEN NEW.ended_ms IS NOT NULL
BEGIN DELETE FROM chat_member WHERE pair_id = NEW.id; END;

-- Who was with whom, for reports and so that NEXT does not bring the same person back.
CREATE TABLE chat_met (
    pair_id  INTEGER NOT NULL REFERENCES chat_pair (id),
    number   TEXT NOT NULL,
    other    TEXT NOT NULL,
    PRIMARY KEY (number, pair_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_block (
    number  TEXT NOT NULL, -- who blocked
    other   TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (number, other)
) STRICT, WITHOUT ROWID;

CREATE TABLE chat_report (
    id        INTEGER PRIMARY KEY,
    pair_id   INTEGER NOT NULL REFERENCES chat_pair (id),
    reporter  TEXT NOT NULL,
    reported  TEXT NOT NULL,
    words     TEXT NOT NULL DEFAULT '',
    at_ms     INTEGER NOT NULL,
    state     TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'upheld', 'rejected')),
    UNIQUE (pair_id, reporter)
) STRICT;

-- The operator's questions and answers; the search table holds the folded text under the same rowid.
CREATE TABLE knowledge (
    id        INTEGER PRIMARY KEY,
    language  TEXT NOT NULL,
    question  TEXT NOT NULL,
    answer    TEXT NOT NULL,
    source    TEXT NOT NULL,
    UNIQUE (language, question)
) STRICT;
CREATE VIRTUAL TABLE knowledge_search USING fts5 (words, tokenize = 'trigram');

-- Questions nobody could answer: a person does, and the answer goes out as SMS.
CREATE TABLE question (
    id           INTEGER PRIMARY KEY,
    asker        TEXT NOT NULL,
    language     TEXT NOT NULL,
    words        TEXT NOT NULL,
    asked_ms     INTEGER NOT NULL,
    answer       TEXT,
    answered_by  TEXT NOT NULL DEFAULT '',
    answered_ms  INTEGER
) STRICT;
CREATE INDEX question_open ON question (id) WHERE answer IS NULL;

-- A full departure: who is told, in order, when seats come free.
CREATE TABLE waiting (
    id          INTEGER PRIMARY KEY,
    service_id  INTEGER NOT NULL REFERENCES service (id),
    date        TEXT NOT NULL,
    number      TEXT NOT NULL,
    language    TEXT NOT NULL,
    seats       INTEGER NOT NULL CHECK (seats > 0),
    at_ms       INTEGER NOT NULL,
    told_ms     INTEGER,
    UNIQUE (service_id, date, number)
) STRICT;
CREATE INDEX waiting_open ON waiting (service_id, date, id) WHERE told_ms IS NULL;

CREATE TABLE refund (
    id             INTEGER PRIMARY KEY,
    booking_id     INTEGER NOT NULL UNIQUE REFERENCES booking (id),
    amount_santim  INTEGER NOT NULL CHECK (amount_santim >= 0),
    asked_ms       INTEGER NOT NULL,
    paid_by        TEXT NOT NULL DEFAULT '', -- the agent who handed the money back
    paid_ms        INTEGER
) STRICT;

-- Money texts of the wallets: what came in, and the booking each paid for, once.
CREATE TABLE receipt (
    id             INTEGER PRIMARY KEY,
    wallet         TEXT NOT NULL,
    reference      TEXT NOT NULL UNIQUE, -- the wallet's transaction number
    amount_santim  INTEGER NOT NULL CHECK (amount_santim > 0),
    payer          TEXT NOT NULL DEFAULT '', -- what is shown of the payer's number
    at_ms          INTEGER NOT NULL,
    inbound_id     INTEGER,
    booking_id     INTEGER UNIQUE REFERENCES booking (id),
    state          TEXT NOT NULL CHECK (state IN ('matched', 'open', 'unclear'))
) STRICT;
