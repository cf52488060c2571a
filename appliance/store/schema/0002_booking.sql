-- Bus tickets: the timetable, the departures that were sold, their seats, bookings and payments.
-- A departure row is made when its first seat is held; it copies what was sold, so that a new
-- timetable changes nothing of it. Money is santim, times are UTC milliseconds, dates are local ISO.

CREATE TABLE timetable (
    id               INTEGER PRIMARY KEY,
    source           TEXT NOT NULL,
    digest           TEXT NOT NULL, -- of the imported files: the same again is no new version
    timezone_minutes INTEGER NOT NULL,
    sample           INTEGER NOT NULL DEFAULT 0,
    imported_at_ms   INTEGER NOT NULL
) STRICT;

CREATE TABLE town (
    id      INTEGER PRIMARY KEY,
    name_en TEXT NOT NULL UNIQUE,
    name_am TEXT NOT NULL DEFAULT '',
    name_om TEXT NOT NULL DEFAULT '',
    lat     REAL NOT NULL,
    lon     REAL NOT NULL,
    aliases TEXT NOT NULL DEFAULT '' -- ';' between names
) STRICT;

CREATE TABLE route (
    id             INTEGER PRIMARY KEY,
    origin_id      INTEGER NOT NULL REFERENCES town (id),
    destination_id INTEGER NOT NULL REFERENCES town (id),
    km             INTEGER NOT NULL,
    duration_min   INTEGER NOT NULL,
    fare_santim    INTEGER NOT NULL CHECK (fare_santim > 0),
    retired        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (origin_id, destination_id),
    CHECK (origin_id <> destination_id)
) STRICT;
CREATE INDEX route_destination ON route (destination_id) WHERE retired = 0;

-- One departure time of a route, on the days it runs.
CREATE TABLE service (
    id           INTEGER PRIMARY KEY,
    route_id     INTEGER NOT NULL REFERENCES route (id),
    minute       INTEGER NOT NULL CHECK (minute BETWEEN 0 AND 2879), -- local; past 1439 is the next morning
    kind         TEXT NOT NULL DEFAULT 'fixed' CHECK (kind IN ('fixed', 'when_full')),
    days         INTEGER NOT NULL DEFAULT 127, -- bit 0 is Monday
    seats        INTEGER NOT NULL CHECK (seats > 0),
    valid_from   TEXT NOT NULL DEFAULT '0000-00-00',
    valid_until  TEXT NOT NULL DEFAULT '9999-99-99',
    retired      INTEGER NOT NULL DEFAULT 0,
    timetable_id INTEGER NOT NULL REFERENCES timetable (id)
) STRICT;
CREATE UNIQUE INDEX service_once ON service (route_id, minute, valid_from, days) WHERE retired = 0;

CREATE TABLE departure (
    id             INTEGER PRIMARY KEY,
    service_id     INTEGER NOT NULL REFERENCES service (id),
    date           TEXT NOT NULL,
    origin_id      INTEGER NOT NULL REFERENCES town (id),
    destination_id INTEGER NOT NULL REFERENCES town (id),
    minute         INTEGER NOT NULL,
    departs_at_ms  INTEGER NOT NULL,
    seats          INTEGER NOT NULL CHECK (seats > 0),
    fare_santim    INTEGER NOT NULL CHECK (fare_santim > 0),
    state          TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'cancelled')),
    UNIQUE (service_id, date)
) STRICT;

CREATE TABLE booking (
    id            INTEGER PRIMARY KEY,
    code          TEXT NOT NULL UNIQUE,
    departure_id  INTEGER NOT NULL REFERENCES departure (id),
    holder        TEXT NOT NULL,
    language      TEXT NOT NULL,
    seats         INTEGER NOT NULL CHECK (seats > 0),
    numbers       TEXT NOT NULL, -- seat numbers, ',' between; what `seat` holds while the booking lives
    price_santim  INTEGER NOT NULL CHECK (price_santim > 0),
    state         TEXT NOT NULL CHECK (state IN ('held', 'paid', 'used', 'released', 'expired', 'cancelled')),
    held_at_ms    INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, -- of the hold
    paid_at_ms    INTEGER,
    used_at_ms    INTEGER,
    ended_at_ms   INTEGER,
    reason        TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX booking_holder ON booking (holder, id);
CREATE INDEX booking_departure ON booking (departure_id);
CREATE INDEX booking_held ON booking (expires_at_ms) WHERE state = 'held';

-- A seat is one row or it is free: the primary key sells nothing twice, whoever writes.
CREATE TABLE seat (
    departure_id INTEGER NOT NULL REFERENCES departure (id),
    number       INTEGER NOT NULL CHECK (number > 0),
    booking_id   INTEGER NOT NULL REFERENCES booking (id),
    PRIMARY KEY (departure_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX seat_booking ON seat (booking_id);

CREATE TRIGGER seat_within_the_bus BEFORE INSERT ON seat
WHEN NEW.number > (SELECT seats FROM departure WHERE id = NEW.departure_id)
BEGIN SELECT RAISE(ABORT, 'seat: beyond the last seat of the departure'); END;

CREATE TRIGGER seat_of_its_booking BEFORE INSERT ON seat
WHEN NOT EXISTS (SELECT 1 FROM booking WHERE id = NEW.booking_id AND departure_id = NEW.departure_id
                 AND state IN ('held', 'paid', 'used'))
BEGIN SELECT RAISE(ABORT, 'seat: its booking is over or of another departure'); END;

CREATE TRIGGER seat_is_never_changed BEFORE UPDATE ON seat
BEGIN SELECT RAISE(ABORT, 'seat: taken or free, never changed'); END;

-- Whatever ends a booking gives its seats back, in the same transaction.
CREATE TRIGGER booking_end_frees_seats AFTER UPDATE OF state ON booking
WHEN NEW.state IN ('released', 'expired', 'cancelled')
BEGIN DELETE FROM seat WHERE booking_id = NEW.id; END;

CREATE TRIGGER booking_paid_has_its_seats BEFORE UPDATE OF state ON booking
WHEN NEW.state IN ('paid', 'used') AND (SELECT count(*) FROM seat WHERE booking_id = NEW.id) <> NEW.seats
BEGIN SELECT RAISE(ABORT, 'booking: paid without its seats'); END;

CREATE TRIGGER departure_keeps_sold_seats BEFORE UPDATE OF seats ON departure
WHEN NEW.seats < (SELECT coalesce(max(number), 0) FROM seat WHERE departure_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'departure: seats beyond the new number are sold'); END;

CREATE TABLE payment (
    id            INTEGER PRIMARY KEY,
    booking_id    INTEGER NOT NULL UNIQUE REFERENCES booking (id), -- a booking is paid once
    method        TEXT NOT NULL CHECK (method IN ('cash', 'receipt', 'telebirr')),
    taken_by      TEXT NOT NULL,       -- the agent's number, or the wallet's sender
    reference     TEXT UNIQUE,         -- the wallet's transaction number: it pays once, ever
    amount_santim INTEGER NOT NULL CHECK (amount_santim > 0),
    at_ms         INTEGER NOT NULL,
    inbound_id    INTEGER
) STRICT;
