-- What the operator last said of the credit of a SIM. sim: its ICCID, so that another SIM in the same modem
-- does not inherit it. bundle_end_ms: the last moment of the day on which it ends.
CREATE TABLE sim_balance (
    channel       TEXT NOT NULL,
    sim           TEXT NOT NULL,
    amount_santim INTEGER,
    bundle        TEXT NOT NULL DEFAULT '',
    bundle_end_ms INTEGER,
    said_at_ms    INTEGER NOT NULL,
    source        TEXT NOT NULL CHECK (source IN ('ussd', 'sms')),
    PRIMARY KEY (channel)
) STRICT, WITHOUT ROWID;
