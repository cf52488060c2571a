-- A SIM that its operator stopped stays set aside over a restart. sim: its ICCID, or the channel's name where
-- the modem does not tell it. reason: '' while nothing is wrong.
CREATE TABLE sim_health (
    sim           TEXT NOT NULL PRIMARY KEY,
    reason        TEXT NOT NULL,
    silent        INTEGER NOT NULL CHECK (silent IN (0, 1)),
    trips         INTEGER NOT NULL CHECK (trips >= 0),
    has_delivered INTEGER NOT NULL CHECK (has_delivered IN (0, 1))
) STRICT, WITHOUT ROWID;
