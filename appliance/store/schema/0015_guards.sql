-- The guards' counts. A window begins with the first thing counted in it and is over after its length.
-- Times are UTC milliseconds.

-- Texts that got a turn, by person and ('') of everybody.
CREATE TABLE text_count (
    who           TEXT PRIMARY KEY,
    minute_ms     INTEGER NOT NULL,
    minute        INTEGER NOT NULL,
    hour_ms       INTEGER NOT NULL,
    hour          INTEGER NOT NULL,
    day_ms        INTEGER NOT NULL,
    day           INTEGER NOT NULL,
    told_until_ms INTEGER NOT NULL DEFAULT 0 -- told once that nothing is answered until then
) STRICT, WITHOUT ROWID;

-- SMS handed over in 24 hours: of the box (''), to a person by the box, of a client ('client 7').
CREATE TABLE spend (
    who      TEXT PRIMARY KEY,
    at_ms    INTEGER NOT NULL,
    segments INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How much a person may text, where somebody decided it; '' goes by what they have paid for.
ALTER TABLE person ADD COLUMN tier TEXT NOT NULL DEFAULT '' CHECK (tier IN ('', 'normal', 'frequent', 'agent'));
