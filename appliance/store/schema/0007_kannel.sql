-- Kannel's interface: where the report of a message goes, and the reports still to be told.

CREATE TABLE kannel_message (
    outbound_id INTEGER PRIMARY KEY REFERENCES outbound (id),
    url         TEXT NOT NULL, -- dlr-url, with its escapes
    mask        INTEGER NOT NULL, -- dlr-mask: 1 delivered, 2 failed, 8 taken by the SMSC, 16 refused by it
    sender      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE kannel_report (
    id              INTEGER PRIMARY KEY,
    outbound_id     INTEGER NOT NULL REFERENCES kannel_message (outbound_id),
    status          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0,
    created_at_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX kannel_report_due ON kannel_report (next_attempt_ms);

CREATE TRIGGER kannel_told AFTER UPDATE OF state ON outbound
WHEN NEW.client_id > 0 AND NEW.state <> OLD.state
    AND NEW.state IN ('sent', 'delivered', 'failed', 'expired', 'cancelled') BEGIN
    INSERT INTO kannel_report (outbound_id, status, created_at_ms)
    SELECT outbound_id, status, coalesce(NEW.final_at_ms, NEW.sent_at_ms, 0) FROM (
        SELECT k.outbound_id, k.mask, CASE
            WHEN NEW.state = 'delivered' THEN 1
            WHEN NEW.state = 'sent' THEN 8
            WHEN NEW.sent_at_ms IS NOT NULL THEN 2
            ELSE 16 END AS status
        FROM kannel_message k WHERE k.outbound_id = NEW.id)
    WHERE mask & status;
END;
