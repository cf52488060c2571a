-- What a departure needs besides its seats: who drives it, who was told what of it, and what searches of it
-- may be remembered. Times are UTC milliseconds, dates are local ISO.

ALTER TABLE departure ADD COLUMN moved_ms INTEGER;    -- when its hour was changed, after seats were sold
ALTER TABLE departure ADD COLUMN manifest_ms INTEGER; -- when the driver was sent who travels
ALTER TABLE booking ADD COLUMN names TEXT NOT NULL DEFAULT ''; -- of the passengers, '; ' between
ALTER TABLE booking ADD COLUMN reminded_ms INTEGER;
CREATE INDEX departure_leaves ON departure (departs_at_ms) WHERE state = 'planned';
-- Departures of the next timetable, written before it is put in force.
CREATE INDEX service_staged ON service (id) WHERE retired = 2;

-- Whose phone gets the manifest: of one day, or with '' of every day. minute: as the timetable has it.
CREATE TABLE driver (
    origin_id      INTEGER NOT NULL REFERENCES town (id),
    destination_id INTEGER NOT NULL REFERENCES town (id),
    minute         INTEGER NOT NULL,
    date           TEXT NOT NULL DEFAULT '',
    number         TEXT NOT NULL,
    PRIMARY KEY (origin_id, destination_id, minute, date)
) STRICT, WITHOUT ROWID;

-- Counts what changes the seats of a way on a day, so that a remembered search knows whether it is still true.
CREATE TABLE seat_stamp (
    origin_id      INTEGER NOT NULL,
    destination_id INTEGER NOT NULL,
    date           TEXT NOT NULL,
    n              INTEGER NOT NULL,
    PRIMARY KEY (origin_id, destination_id, date)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER seat_taken_is_counted AFTER INSERT ON seat
BEGIN
    INSERT INTO seat_stamp SELECT origin_id, destination_id, date, 1 FROM departure WHERE id = NEW.departure_id
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER seat_freed_is_counted AFTER DELETE ON seat
BEGIN
    INSERT INTO seat_stamp SELECT origin_id, destination_id, date, 1 FROM departure WHERE id = OLD.departure_id
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER departure_made_is_counted AFTER INSERT ON departure
BEGIN
    INSERT INTO seat_stamp VALUES (NEW.origin_id, NEW.destination_id, NEW.date, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;
CREATE TRIGGER departure_changed_is_counted AFTER UPDATE OF state, minute, departs_at_ms, seats, fare_santim ON departure
BEGIN
    INSERT INTO seat_stamp VALUES (NEW.origin_id, NEW.destination_id, NEW.date, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

-- Whether the box is under pressure: then searches are remembered for longer.
CREATE TABLE pressure (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    pressed  INTEGER NOT NULL DEFAULT 0 CHECK (pressed IN (0, 1)),
    since_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO pressure (id) VALUES (1);
