-- The businesses: clients, their keys, what they sent and what it cost, templates.
--
-- Units are integers. A unit is in one place at a time: in `client.balance`, or in a `client_message` that is
-- reserved or settled. So for each client, always:
--     sum(credit.units) = balance + sum(units of its messages that are reserved or settled)
--     reserved          = sum(units of its messages that are reserved)
-- The triggers move the units in the very statement that moves the message, whoever moves it.

CREATE TABLE client (
    id            INTEGER PRIMARY KEY CHECK (id > 0), -- 0 in outbound.client_id is the box itself
    name          TEXT NOT NULL UNIQUE,
    state         TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    balance       INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    reserved      INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    low_mark      INTEGER NOT NULL DEFAULT 0 CHECK (low_mark >= 0),
    per_second    INTEGER NOT NULL DEFAULT 100 CHECK (per_second > 0), -- messages accepted
    created_at_ms INTEGER NOT NULL
) STRICT;

-- Only the hash of a key is kept: 256 random bits need no slow hash.
CREATE TABLE api_key (
    id            TEXT PRIMARY KEY, -- the part of the key that may be shown
    client_id     INTEGER NOT NULL REFERENCES client (id),
    hash          BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    scopes        TEXT NOT NULL, -- words with blanks between: send read admin
    networks      TEXT NOT NULL DEFAULT '', -- where it may be used from; '' anywhere
    note          TEXT NOT NULL DEFAULT '',
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_client ON api_key (client_id);

-- Credit given and taken back by the operator. Never changed, never deleted.
CREATE TABLE credit (
    id        INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (id),
    at_ms     INTEGER NOT NULL,
    units     INTEGER NOT NULL CHECK (units <> 0),
    actor     TEXT NOT NULL,
    note      TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX credit_client ON credit (client_id, id);
CREATE TRIGGER credit_is_final BEFORE UPDATE ON credit BEGIN SELECT RAISE(ABORT, 'credit is final'); END;
CREATE TRIGGER credit_stays BEFORE DELETE ON credit BEGIN SELECT RAISE(ABORT, 'credit is final'); END;
CREATE TRIGGER credit_given AFTER INSERT ON credit BEGIN
    UPDATE client SET balance = balance + NEW.units WHERE id = NEW.client_id;
END;

-- Units a segment costs, by the longest prefix of the number, from a date on. No row: one unit.
CREATE TABLE price (
    prefix  TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    units   INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (prefix, from_ms)
) STRICT, WITHOUT ROWID;

-- What makes a row of `outbound` a client's: its price and what became of it.
CREATE TABLE client_message (
    outbound_id INTEGER PRIMARY KEY REFERENCES outbound (id),
    client_id   INTEGER NOT NULL REFERENCES client (id),
    reference   TEXT NOT NULL DEFAULT '', -- the client's own
    encoding    TEXT NOT NULL,
    segments    INTEGER NOT NULL,
    units       INTEGER NOT NULL CHECK (units >= 0),
    charge      TEXT NOT NULL DEFAULT 'reserved' CHECK (charge IN ('reserved', 'settled', 'refunded'))
) STRICT;
CREATE INDEX client_message_client ON client_message (client_id, outbound_id);

CREATE TRIGGER client_message_reserved AFTER INSERT ON client_message BEGIN
    UPDATE client SET balance = balance - NEW.units, reserved = reserved + NEW.units WHERE id = NEW.client_id;
END;
CREATE TRIGGER client_message_settled AFTER UPDATE OF charge ON client_message
WHEN OLD.charge = 'reserved' AND NEW.charge = 'settled' BEGIN
    UPDATE client SET reserved = reserved - NEW.units WHERE id = NEW.client_id;
END;
CREATE TRIGGER client_message_refunded AFTER UPDATE OF charge ON client_message
WHEN OLD.charge = 'reserved' AND NEW.charge = 'refunded' BEGIN
    UPDATE client SET reserved = reserved - NEW.units, balance = balance + NEW.units WHERE id = NEW.client_id;
END;
CREATE TRIGGER client_message_charge_is_final BEFORE UPDATE OF charge ON client_message
WHEN OLD.charge <> 'reserved' AND NEW.charge <> OLD.charge BEGIN
    SELECT RAISE(ABORT, 'a charge moves once');
END;

-- Settled when the network or a provider took it, or may have taken it for good; given back when nobody did.
CREATE TRIGGER outbound_charge AFTER UPDATE OF state ON outbound
WHEN NEW.client_id > 0 AND NEW.state <> OLD.state BEGIN
    UPDATE client_message
    SET charge = CASE WHEN NEW.state IN ('sent', 'delivered', 'unknown') THEN 'settled' ELSE 'refunded' END
    WHERE outbound_id = NEW.id AND charge = 'reserved'
        AND NEW.state IN ('sent', 'delivered', 'unknown', 'failed', 'expired', 'cancelled');
END;

-- The answer to a POST, kept so that the same request again is the same answer and not a second message.
CREATE TABLE idempotency (
    client_id     INTEGER NOT NULL,
    key           TEXT NOT NULL,
    request_hash  BLOB NOT NULL,
    status        INTEGER NOT NULL,
    answer        BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (client_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_age ON idempotency (created_at_ms);

CREATE TABLE template (
    client_id     INTEGER NOT NULL REFERENCES client (id),
    name          TEXT NOT NULL,
    body          TEXT NOT NULL, -- JSON: {"variables": {name: type}, "texts": {language: text}}
    updated_at_ms INTEGER NOT NULL,
    PRIMARY KEY (client_id, name)
) STRICT, WITHOUT ROWID;

-- Who did what to clients, keys, credit and prices.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL,
    what   TEXT NOT NULL
) STRICT;
