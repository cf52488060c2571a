-- The core: what came in, the sessions, what goes out, and the trace of each.
-- Times are UTC milliseconds. A row leaves its queue by a change of state, never by deletion.

CREATE TABLE inbound (
    id             INTEGER PRIMARY KEY,
    channel        TEXT NOT NULL,
    sender         TEXT NOT NULL,
    recipient      TEXT NOT NULL DEFAULT '',
    text           TEXT NOT NULL,
    natural_key    TEXT,
    partial        INTEGER NOT NULL DEFAULT 0,
    sent_at_ms     INTEGER,
    received_at_ms INTEGER NOT NULL,
    state          TEXT NOT NULL DEFAULT 'accepted'
                   CHECK (state IN ('accepted', 'handled', 'guarded', 'set_aside')),
    reason         TEXT NOT NULL DEFAULT '',
    attempts       INTEGER NOT NULL DEFAULT 0,
    handled_at_ms  INTEGER
) STRICT;
CREATE UNIQUE INDEX inbound_natural_key ON inbound (natural_key) WHERE natural_key IS NOT NULL;
CREATE INDEX inbound_waiting ON inbound (id) WHERE state = 'accepted';
CREATE INDEX inbound_sender ON inbound (sender, id);

-- Parts of concatenated messages wait here until they are whole or overdue.
CREATE TABLE inbound_part (
    id             INTEGER PRIMARY KEY,
    channel        TEXT NOT NULL,
    sender         TEXT NOT NULL,
    recipient      TEXT NOT NULL DEFAULT '',
    reference      INTEGER NOT NULL,
    reference_bits INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    sequence       INTEGER NOT NULL,
    encoding       TEXT NOT NULL,
    data           BLOB NOT NULL, -- undecoded user data: surrogate pairs may straddle parts
    natural_key    TEXT NOT NULL UNIQUE,
    sent_at_ms     INTEGER,
    received_at_ms INTEGER NOT NULL,
    inbound_id     INTEGER REFERENCES inbound (id) -- set when the whole, or what there was, was handed over
) STRICT;
CREATE INDEX inbound_part_of ON inbound_part (sender, reference, total);
CREATE INDEX inbound_part_open ON inbound_part (received_at_ms) WHERE inbound_id IS NULL;
CREATE INDEX inbound_part_whole ON inbound_part (inbound_id) WHERE inbound_id IS NOT NULL;

-- TPDUs nobody could decode: kept, shown, in nobody's way.
CREATE TABLE undecoded (
    id             INTEGER PRIMARY KEY,
    channel        TEXT NOT NULL,
    pdu_hex        TEXT NOT NULL,
    error          TEXT NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX undecoded_pdu ON undecoded (channel, pdu_hex);

CREATE TABLE session (
    sender        TEXT PRIMARY KEY,
    app           TEXT NOT NULL,
    state         TEXT NOT NULL,
    body          BLOB NOT NULL, -- the whole Session as JSON
    expires_at_ms INTEGER NOT NULL,
    wake_at_ms    INTEGER,
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_wake ON session (wake_at_ms) WHERE wake_at_ms IS NOT NULL;

CREATE TABLE person (
    number         TEXT PRIMARY KEY,
    language       TEXT NOT NULL DEFAULT '',
    opted_out_ms   INTEGER,
    opted_out_word TEXT NOT NULL DEFAULT '',
    first_seen_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbound (
    id              INTEGER PRIMARY KEY,
    recipient       TEXT NOT NULL,
    text            TEXT NOT NULL,
    lane            TEXT NOT NULL CHECK (lane IN ('otp', 'reply', 'normal', 'bulk')),
    in_reply_to     INTEGER REFERENCES inbound (id),
    client_id       INTEGER NOT NULL DEFAULT 0, -- 0: the box itself
    route           TEXT NOT NULL DEFAULT '',   -- the one route it may take; '' any modem
    channel         TEXT NOT NULL DEFAULT '',   -- what took it last
    provider_ref    TEXT,                       -- the id an HTTP provider gave it
    state           TEXT NOT NULL DEFAULT 'queued' CHECK (state IN (
                        'queued', 'sending', 'sent', 'delivered', 'failed',
                        'expired', 'cancelled', 'uncertain', 'unknown')),
    reason          TEXT NOT NULL DEFAULT '',
    attempts        INTEGER NOT NULL DEFAULT 0,
    doubted         INTEGER NOT NULL DEFAULT 0, -- times it may have gone out without our knowing
    want_report     INTEGER NOT NULL DEFAULT 1,
    segments        INTEGER NOT NULL DEFAULT 0,
    created_at_ms   INTEGER NOT NULL,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0,
    expires_at_ms   INTEGER,
    deadline_ms     INTEGER, -- when the sweeper must look: no state but a final one is without it
    sent_at_ms      INTEGER,
    final_at_ms     INTEGER
) STRICT;
CREATE INDEX outbound_queue ON outbound (route, lane, client_id, next_attempt_ms, id) WHERE state = 'queued';
CREATE INDEX outbound_deadline ON outbound (deadline_ms) WHERE deadline_ms IS NOT NULL;
CREATE INDEX outbound_open ON outbound (state, id) WHERE state IN ('sending', 'uncertain');
CREATE INDEX outbound_recipient ON outbound (recipient, id);
CREATE INDEX outbound_reply ON outbound (in_reply_to) WHERE in_reply_to IS NOT NULL;
CREATE UNIQUE INDEX outbound_provider_ref ON outbound (channel, provider_ref) WHERE provider_ref IS NOT NULL;

-- One row per SMS-SUBMIT of an outbound message that a modem was given. The rows of one modem are sent
-- in the order of `turn`, each only after the result of the one before it is on disk: so after a crash
-- the first open row is the only one whose fate is in doubt.
CREATE TABLE outbound_part (
    outbound_id   INTEGER NOT NULL REFERENCES outbound (id),
    sequence      INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    turn          INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('sending', 'sent', 'delivered', 'failed', 'uncertain')),
    modem         TEXT NOT NULL, -- IMEI and ICCID: what the TP-MR belongs to
    recipient     TEXT NOT NULL,
    tp_mr         INTEGER,       -- as +CMGS answered, modulo 256
    tp_status     INTEGER,       -- of the latest report
    sent_at_ms    INTEGER,
    final_at_ms   INTEGER,
    PRIMARY KEY (outbound_id, sequence, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbound_part_mr ON outbound_part (modem, tp_mr, sent_at_ms) WHERE tp_mr IS NOT NULL;
CREATE INDEX outbound_part_open ON outbound_part (modem, turn) WHERE state IN ('sending', 'uncertain');

-- Status reports that came before the result they belong to.
CREATE TABLE orphan_report (
    id             INTEGER PRIMARY KEY,
    modem          TEXT NOT NULL,
    tp_mr          INTEGER NOT NULL,
    recipient      TEXT NOT NULL,
    tp_status      INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL
) STRICT;

-- What the columns above cannot tell: each further thing that happened to a message.
CREATE TABLE trace (
    id      INTEGER PRIMARY KEY,
    kind    TEXT NOT NULL CHECK (kind IN ('in', 'out')),
    message INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    state   TEXT NOT NULL,
    actor   TEXT NOT NULL, -- us, modem:<name>, network, handset, worker, operator
    reason  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX trace_message ON trace (kind, message, id);
