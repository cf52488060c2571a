-- What clients are told by webhook. An event is written in the transaction of what it tells; for each
-- endpoint that wants it there is one delivery. Of the deliveries of one endpoint and one `ordering` (a
-- recipient, mostly) only the first is `pending`, the later ones are `waiting` for it: so order holds, and
-- finding the next due one costs the same however much waits.

CREATE TABLE webhook_endpoint (
    id               INTEGER PRIMARY KEY,
    client_id        INTEGER NOT NULL,
    url              TEXT NOT NULL,
    events           TEXT NOT NULL DEFAULT '', -- types it wants, ',' between; '' all
    secret           TEXT NOT NULL,            -- whsec_ and base64: signing needs it in clear
    old_secret       TEXT,                     -- signs too until old_until_ms, after a rotation
    old_until_ms     INTEGER,
    state            TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'gone')),
    reason           TEXT NOT NULL DEFAULT '',
    failures         INTEGER NOT NULL DEFAULT 0, -- in a row
    failing_since_ms INTEGER,
    retry_at_ms      INTEGER NOT NULL DEFAULT 0, -- while it fails, one delivery at a time, not before this
    created_at_ms    INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_endpoint_client ON webhook_endpoint (client_id);

CREATE TABLE webhook_event (
    id        INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL,
    type      TEXT NOT NULL,
    ordering  TEXT NOT NULL,
    body      TEXT NOT NULL, -- as sent: {"type", "timestamp", "data"}
    at_ms     INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_event_client ON webhook_event (client_id, id);

CREATE TABLE webhook_delivery (
    id              INTEGER PRIMARY KEY,
    endpoint_id     INTEGER NOT NULL REFERENCES webhook_endpoint (id),
    event_id        INTEGER NOT NULL REFERENCES webhook_event (id),
    ordering        TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'pending', 'done', 'dead')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL,
    status          INTEGER, -- HTTP status of the last attempt
    reason          TEXT NOT NULL DEFAULT '',
    ended_at_ms     INTEGER,
    UNIQUE (endpoint_id, event_id)
) STRICT;
CREATE INDEX webhook_due ON webhook_delivery (endpoint_id, next_attempt_ms, id) WHERE state = 'pending';
CREATE INDEX webhook_order ON webhook_delivery (endpoint_id, ordering, id) WHERE state IN ('waiting', 'pending');
CREATE INDEX webhook_dead ON webhook_delivery (endpoint_id, id) WHERE state = 'dead';
