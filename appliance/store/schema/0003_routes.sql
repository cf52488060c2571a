-- Routes: reports that came too early, and what each SIM or provider has used of its allowance.

-- Delivery callbacks for an id that we do not know yet: the answer to our own request is still on its way.
CREATE TABLE orphan_provider_report (
    id             INTEGER PRIMARY KEY,
    channel        TEXT NOT NULL,
    provider_ref   TEXT NOT NULL,
    state          TEXT NOT NULL,
    reason         TEXT NOT NULL DEFAULT '',
    received_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX orphan_provider_report_ref ON orphan_provider_report (channel, provider_ref);

-- Segments handed over in the period that began at start_ms; the next period overwrites the row.
CREATE TABLE allowance (
    channel  TEXT NOT NULL,
    period   TEXT NOT NULL CHECK (period IN ('minute', 'hour', 'day', 'month')),
    start_ms INTEGER NOT NULL,
    segments INTEGER NOT NULL CHECK (segments >= 0),
    PRIMARY KEY (channel, period)
) STRICT, WITHOUT ROWID;

-- Whom a channel wrote to since start_ms, for the ceiling of distinct recipients a day.
CREATE TABLE allowance_recipient (
    channel   TEXT NOT NULL,
    start_ms  INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    PRIMARY KEY (channel, start_ms, recipient)
) STRICT, WITHOUT ROWID;
