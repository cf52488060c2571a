-- What a client's messages came to, counted by the statement that moves the message, so that a page of a
-- client with a million messages reads some hundred rows. By quarter hours: every zone on Earth begins its
-- days at one of them.

CREATE TABLE client_usage (
    client_id  INTEGER NOT NULL REFERENCES client (id),
    quarter_ms INTEGER NOT NULL, -- in which the messages were accepted: its start, UTC
    lane       TEXT NOT NULL,
    state      TEXT NOT NULL, -- of the messages now
    messages   INTEGER NOT NULL,
    segments   INTEGER NOT NULL,
    units      INTEGER NOT NULL, -- settled
    PRIMARY KEY (client_id, quarter_ms, lane, state)
) STRICT, WITHOUT ROWID;

-- From acceptance to the network's or provider's yes, rounded down by at most a tenth: some 35 steps from a
-- second to ten, so that a month of any client is at most some ten thousand rows.
CREATE TABLE client_latency (
    client_id INTEGER NOT NULL REFERENCES client (id),
    slot_ms   INTEGER NOT NULL, -- the three hours in which the messages were accepted: their start, UTC
    lane      TEXT NOT NULL,
    took_ms   INTEGER NOT NULL,
    messages  INTEGER NOT NULL,
    PRIMARY KEY (client_id, slot_ms, lane, took_ms)
) STRICT, WITHOUT ROWID;

INSERT INTO client_usage (client_id, quarter_ms, lane, state, messages, segments, units)
SELECT m.client_id, o.created_at_ms / 900000 * 900000, o.lane, o.state, count(*), sum(m.segments),
    sum(CASE m.charge WHEN 'settled' THEN m.units ELSE 0 END)
FROM client_message m JOIN outbound o ON o.id = m.outbound_id GROUP BY 1, 2, 3, 4;

CREATE TRIGGER client_message_counted AFTER INSERT ON client_message BEGIN
    INSERT INTO client_usage (client_id, quarter_ms, lane, state, messages, segments, units)
    SELECT NEW.client_id, created_at_ms / 900000 * 900000, lane, state, 1, NEW.segments, 0
    FROM outbound WHERE id = NEW.outbound_id
    ON CONFLICT DO UPDATE SET messages = messages + 1, segments = segments + excluded.segments;
END;

-- In place of outbound_charge: out of the count of the old state with what was settled then, the charge by
-- the new state, and into the count of that. One trigger, because SQLite promises no order of several.
DROP TRIGGER outbound_charge;
CREATE TRIGGER outbound_client_moved AFTER UPDATE OF state ON outbound
WHEN NEW.client_id > 0 AND NEW.state <> OLD.state
    AND EXISTS (SELECT 1 FROM client_message WHERE outbound_id = NEW.id)
BEGIN
    UPDATE client_usage SET
        messages = messages - 1,
        segments = segments - (SELECT segments FROM client_message WHERE outbound_id = NEW.id),
        units = units
            - (SELECT CASE charge WHEN 'settled' THEN units ELSE 0 END FROM client_message WHERE outbound_id = NEW.id)
    WHERE client_id = NEW.client_id AND quarter_ms = NEW.created_at_ms / 900000 * 900000
        AND lane = NEW.lane AND state = OLD.state;
    -- Settled when the network or a provider took it, or may have taken it for good; given back when nobody did.
    UPDATE client_message
    SET charge = CASE WHEN NEW.state IN ('sent', 'delivered', 'unknown') THEN 'settled' ELSE 'refunded' END
    WHERE outbound_id = NEW.id AND charge = 'reserved'
        AND NEW.state IN ('sent', 'delivered', 'unknown', 'failed', 'expired', 'cancelled');
    INSERT INTO client_usage (client_id, quarter_ms, lane, state, messages, segments, units)
    SELECT NEW.client_id, NEW.created_at_ms / 900000 * 900000, NEW.lane, NEW.state, 1, segments,
        CASE charge WHEN 'settled' THEN units ELSE 0 END
    FROM client_message WHERE outbound_id = NEW.id
    ON CONFLICT DO UPDATE SET messages = messages + 1, segments = segments + excluded.segments,
        units = units + excluded.units;
END;

-- A clock that is set moves the times of what is still open (store/timeline.py), and the counts with them.
CREATE TRIGGER outbound_client_shifted AFTER UPDATE OF created_at_ms ON outbound
WHEN NEW.client_id > 0 AND NEW.created_at_ms / 900000 <> OLD.created_at_ms / 900000
    AND EXISTS (SELECT 1 FROM client_message WHERE outbound_id = NEW.id)
BEGIN
    UPDATE client_usage SET
        messages = messages - 1,
        segments = segments - (SELECT segments FROM client_message WHERE outbound_id = NEW.id),
        units = units
            - (SELECT CASE charge WHEN 'settled' THEN units ELSE 0 END FROM client_message WHERE outbound_id = NEW.id)
    WHERE client_id = NEW.client_id AND quarter_ms = OLD.created_at_ms / 900000 * 900000
        AND lane = NEW.lane AND state = NEW.state;
    INSERT INTO client_usage (client_id, quarter_ms, lane, state, messages, segments, units)
    SELECT NEW.client_id, NEW.created_at_ms / 900000 * 900000, NEW.lane, NEW.state, 1, segments,
        CASE charge WHEN 'settled' THEN units ELSE 0 END
    FROM client_message WHERE outbound_id = NEW.id
    ON CONFLICT DO UPDATE SET messages = messages + 1, segments = segments + excluded.segments,
        units = units + excluded.units;
END;

CREATE TRIGGER outbound_client_sent AFTER UPDATE OF sent_at_ms ON outbound
WHEN NEW.client_id > 0 AND NEW.sent_at_ms IS NOT NULL AND OLD.sent_at_ms IS NULL
    AND EXISTS (SELECT 1 FROM client WHERE id = NEW.client_id)
BEGIN
    INSERT INTO client_latency (client_id, slot_ms, lane, took_ms, messages)
    SELECT NEW.client_id, NEW.created_at_ms / 10800000 * 10800000, NEW.lane, CASE
        WHEN ms < 100 THEN ms / 5 * 5
        WHEN ms < 200 THEN ms / 10 * 10 WHEN ms < 500 THEN ms / 20 * 20 WHEN ms < 1000 THEN ms / 50 * 50
        WHEN ms < 2000 THEN ms / 100 * 100 WHEN ms < 5000 THEN ms / 200 * 200
        WHEN ms < 10000 THEN ms / 500 * 500 WHEN ms < 20000 THEN ms / 1000 * 1000
        WHEN ms < 50000 THEN ms / 2000 * 2000 WHEN ms < 100000 THEN ms / 5000 * 5000
        WHEN ms < 200000 THEN ms / 10000 * 10000 WHEN ms < 500000 THEN ms / 20000 * 20000
        WHEN ms < 1000000 THEN ms / 50000 * 50000 ELSE ms / 300000 * 300000 END, 1
    FROM (SELECT max(0, NEW.sent_at_ms - NEW.created_at_ms) AS ms) WHERE true
    ON CONFLICT DO UPDATE SET messages = messages + 1;
END;

INSERT INTO client_latency (client_id, slot_ms, lane, took_ms, messages)
SELECT client_id, created_at_ms / 10800000 * 10800000, lane, CASE
    WHEN ms < 100 THEN ms / 5 * 5
    WHEN ms < 200 THEN ms / 10 * 10 WHEN ms < 500 THEN ms / 20 * 20 WHEN ms < 1000 THEN ms / 50 * 50
    WHEN ms < 2000 THEN ms / 100 * 100 WHEN ms < 5000 THEN ms / 200 * 200
    WHEN ms < 10000 THEN ms / 500 * 500 WHEN ms < 20000 THEN ms / 1000 * 1000
    WHEN ms < 50000 THEN ms / 2000 * 2000 WHEN ms < 100000 THEN ms / 5000 * 5000
    WHEN ms < 200000 THEN ms / 10000 * 10000 WHEN ms < 500000 THEN ms / 20000 * 20000
    WHEN ms < 1000000 THEN ms / 50000 * 50000 ELSE ms / 300000 * 300000 END, count(*)
FROM (SELECT o.client_id, o.created_at_ms, o.lane, max(0, o.sent_at_ms - o.created_at_ms) AS ms
    FROM outbound o JOIN client_message m ON m.outbound_id = o.id WHERE o.sent_at_ms IS NOT NULL)
GROUP BY 1, 2, 3, 4;

-- How a message is sent when it is not plain text: JSON, see channels/forms.py; '' for plain text.
ALTER TABLE outbound ADD COLUMN form TEXT NOT NULL DEFAULT '';
