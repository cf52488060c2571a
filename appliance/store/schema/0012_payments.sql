-- Money: the ledger, agents' PINs, refunds with a way and an end, and orders at telebirr.
--
-- A transfer is one row with both its sides, so nothing can be booked that does not sum to zero; its key says
-- what it books, so nothing is booked twice. Balances are kept by the statement that writes the transfer.

CREATE TABLE ledger_account (
    id             INTEGER PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE, -- as store/ledger.py names them
    balance_santim INTEGER NOT NULL DEFAULT 0 -- debits less credits
) STRICT;

CREATE TABLE ledger_transfer (
    id            INTEGER PRIMARY KEY,
    kind          TEXT NOT NULL,        -- receipt, sale, commission, owed, refund, unclaimed, handed_in
    key           TEXT NOT NULL UNIQUE, -- sale:12 is the sale of booking 12
    debit_id      INTEGER NOT NULL REFERENCES ledger_account (id),
    credit_id     INTEGER NOT NULL REFERENCES ledger_account (id),
    amount_santim INTEGER NOT NULL CHECK (amount_santim > 0),
    booking_id    INTEGER REFERENCES booking (id),
    at_ms         INTEGER NOT NULL,
    CHECK (debit_id <> credit_id)
) STRICT;
CREATE INDEX ledger_transfer_booking ON ledger_transfer (booking_id) WHERE booking_id IS NOT NULL;
CREATE INDEX ledger_transfer_debit ON ledger_transfer (debit_id, id);
CREATE INDEX ledger_transfer_credit ON ledger_transfer (credit_id, id);

CREATE TRIGGER ledger_transfer_is_final BEFORE UPDATE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger: a transfer is final'); END;
CREATE TRIGGER ledger_transfer_stays BEFORE DELETE ON ledger_transfer
BEGIN SELECT RAISE(ABORT, 'ledger: a transfer is final'); END;
CREATE TRIGGER ledger_transfer_booked AFTER INSERT ON ledger_transfer BEGIN
    UPDATE ledger_account SET balance_santim = balance_santim + NEW.amount_santim WHERE id = NEW.debit_id;
    UPDATE ledger_account SET balance_santim = balance_santim - NEW.amount_santim WHERE id = NEW.credit_id;
END;

-- Both sides of every transfer, as an accountant reads them.
CREATE VIEW ledger_entry AS
    SELECT t.id AS transfer_id, t.at_ms, t.kind, a.name AS account, t.amount_santim, t.booking_id
    FROM ledger_transfer t JOIN ledger_account a ON a.id = t.debit_id
    UNION ALL
    SELECT t.id, t.at_ms, t.kind, a.name, -t.amount_santim, t.booking_id
    FROM ledger_transfer t JOIN ledger_account a ON a.id = t.credit_id;

-- Agents: which numbers take cash is in the configuration; the PIN, never itself, is here.
CREATE TABLE agent (
    number          TEXT PRIMARY KEY,
    salt            TEXT NOT NULL, -- hex
    pin_hash        TEXT NOT NULL, -- hex, scrypt
    wrong           INTEGER NOT NULL DEFAULT 0, -- wrong PINs in a row
    locked_until_ms INTEGER NOT NULL DEFAULT 0,
    set_ms          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One order at telebirr for one booking. merch_order_id is ours, used once and never again.
CREATE TABLE telebirr_order (
    id               INTEGER PRIMARY KEY,
    booking_id       INTEGER NOT NULL REFERENCES booking (id),
    merch_order_id   TEXT NOT NULL UNIQUE,
    amount_santim    INTEGER NOT NULL CHECK (amount_santim > 0),
    state            TEXT NOT NULL CHECK (state IN (
                         'wanted', 'asking', 'doubt', 'open', 'lost', 'paid', 'closed', 'refused', 'unclear')),
    prepay_id        TEXT NOT NULL DEFAULT '',
    trade_status     TEXT NOT NULL DEFAULT '',
    trans_id         TEXT NOT NULL DEFAULT '',
    made_ms          INTEGER NOT NULL,
    due_ms           INTEGER NOT NULL, -- when the person's time to pay is over
    watch_until_ms   INTEGER NOT NULL, -- until when money that comes late is looked for
    next_ms          INTEGER,          -- when it is looked at next; NULL: never, it is at its end
    looks            INTEGER NOT NULL DEFAULT 0,
    detail           TEXT NOT NULL DEFAULT '' -- what telebirr last said that we did not expect
) STRICT;
CREATE INDEX telebirr_order_booking ON telebirr_order (booking_id);
CREATE INDEX telebirr_order_due ON telebirr_order (next_ms) WHERE next_ms IS NOT NULL;
CREATE UNIQUE INDEX telebirr_order_one ON telebirr_order (booking_id)
    WHERE state IN ('wanted', 'asking', 'doubt', 'open');

-- Money that came in, once for each of the wallet's transactions, whichever way we learnt of it.
CREATE TABLE receipt_new (
    id             INTEGER PRIMARY KEY,
    wallet         TEXT NOT NULL,
    reference      TEXT NOT NULL UNIQUE, -- the wallet's transaction number
    amount_santim  INTEGER NOT NULL CHECK (amount_santim > 0),
    payer          TEXT NOT NULL DEFAULT '', -- what is shown of the payer's number
    at_ms          INTEGER NOT NULL,
    inbound_id     INTEGER,                  -- the text; NULL: the wallet's API told us
    booking_id     INTEGER REFERENCES booking (id),
    order_id       INTEGER REFERENCES telebirr_order (id),
    -- matched: it paid the booking. open: nothing fits it. unclear: a person has to say. returned: it is owed back.
    state          TEXT NOT NULL CHECK (state IN ('matched', 'open', 'unclear', 'returned')),
    decided_by     TEXT NOT NULL DEFAULT ''  -- who of the operator's people said so
) STRICT;
INSERT INTO receipt_new (id, wallet, reference, amount_santim, payer, at_ms, inbound_id, booking_id, state)
    SELECT id, wallet, reference, amount_santim, payer, at_ms, inbound_id, booking_id, state FROM receipt;
DROP TABLE receipt;
ALTER TABLE receipt_new RENAME TO receipt;
CREATE UNIQUE INDEX receipt_pays_one ON receipt (booking_id) WHERE state = 'matched';
CREATE INDEX receipt_waiting ON receipt (id) WHERE state IN ('open', 'unclear');

-- What is owed back, by which way, and how far that has come. None is without an end: see next_ms.
CREATE TABLE refund_new (
    id             INTEGER PRIMARY KEY,
    booking_id     INTEGER NOT NULL REFERENCES booking (id),
    receipt_id     INTEGER UNIQUE REFERENCES receipt (id), -- set: money that paid for nothing (late, double)
    amount_santim  INTEGER NOT NULL CHECK (amount_santim > 0),
    way            TEXT NOT NULL CHECK (way IN ('cash', 'telebirr')),
    state          TEXT NOT NULL CHECK (state IN ('owed', 'asking', 'doubt', 'unclear', 'paid', 'unclaimed')),
    order_id       INTEGER REFERENCES telebirr_order (id),
    request_no     TEXT UNIQUE, -- telebirr's refund_request_no: asked for once and never again
    asked_ms       INTEGER NOT NULL,
    next_ms        INTEGER, -- when the sweeper looks; NULL: it is at its end
    deadline_ms    INTEGER NOT NULL,
    looks          INTEGER NOT NULL DEFAULT 0,
    paid_by        TEXT NOT NULL DEFAULT '', -- the agent who handed it back, or telebirr
    paid_ms        INTEGER,
    detail         TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO refund_new (id, booking_id, amount_santim, way, state, asked_ms, next_ms, deadline_ms, paid_by, paid_ms)
    SELECT id, booking_id, amount_santim, 'cash', CASE WHEN paid_ms IS NULL THEN 'owed' ELSE 'paid' END, asked_ms,
        CASE WHEN paid_ms IS NULL THEN asked_ms + 2592000000 END, asked_ms + 2592000000, paid_by, paid_ms
    FROM refund WHERE amount_santim > 0;
DROP TABLE refund;
ALTER TABLE refund_new RENAME TO refund;
CREATE UNIQUE INDEX refund_of_ticket ON refund (booking_id) WHERE receipt_id IS NULL;
CREATE INDEX refund_due ON refund (next_ms) WHERE next_ms IS NOT NULL;

-- The books of what was taken before there was a ledger.
INSERT INTO ledger_account (name) VALUES ('sales'), ('received'), ('refunds');
INSERT OR IGNORE INTO ledger_account (name) SELECT 'agent:' || taken_by FROM payment WHERE method = 'cash';
INSERT OR IGNORE INTO ledger_account (name) SELECT 'agent:' || paid_by FROM refund WHERE state = 'paid';
INSERT OR IGNORE INTO ledger_account (name) SELECT 'wallet:' || wallet FROM receipt;
INSERT INTO ledger_transfer (kind, key, debit_id, credit_id, amount_santim, booking_id, at_ms)
    SELECT 'receipt', 'receipt:' || r.id, d.id, c.id, r.amount_santim, r.booking_id, r.at_ms FROM receipt r
    JOIN ledger_account d ON d.name = 'wallet:' || r.wallet JOIN ledger_account c ON c.name = 'received'
    ORDER BY r.id;
INSERT INTO ledger_transfer (kind, key, debit_id, credit_id, amount_santim, booking_id, at_ms)
    SELECT 'sale', 'sale:' || p.booking_id, d.id, c.id, p.amount_santim, p.booking_id, p.at_ms FROM payment p
    JOIN ledger_account d ON d.name = CASE p.method WHEN 'cash' THEN 'agent:' || p.taken_by ELSE 'received' END
    JOIN ledger_account c ON c.name = 'sales' ORDER BY p.id;
INSERT INTO ledger_transfer (kind, key, debit_id, credit_id, amount_santim, booking_id, at_ms)
    SELECT 'owed', 'owed:' || r.id, d.id, c.id, r.amount_santim, r.booking_id, r.asked_ms FROM refund r
    JOIN ledger_account d ON d.name = 'sales' JOIN ledger_account c ON c.name = 'refunds' ORDER BY r.id;
INSERT INTO ledger_transfer (kind, key, debit_id, credit_id, amount_santim, booking_id, at_ms)
    SELECT 'refund', 'refund:' || r.id, d.id, c.id, r.amount_santim, r.booking_id, r.paid_ms FROM refund r
    JOIN ledger_account d ON d.name = 'refunds' JOIN ledger_account c ON c.name = 'agent:' || r.paid_by
    WHERE r.state = 'paid' ORDER BY r.id;

-- From here on no booking is paid for that is not in the ledger.
CREATE TRIGGER payment_is_in_the_ledger BEFORE INSERT ON payment
WHEN NOT EXISTS (SELECT 1 FROM ledger_transfer WHERE key = 'sale:' || NEW.booking_id
                 AND amount_santim = NEW.amount_santim)
BEGIN SELECT RAISE(ABORT, 'payment: not in the ledger'); END;
CREATE TRIGGER payment_is_final BEFORE UPDATE ON payment
BEGIN SELECT RAISE(ABORT, 'payment: final'); END;
CREATE TRIGGER payment_stays BEFORE DELETE ON payment
BEGIN SELECT RAISE(ABORT, 'payment: final'); END;
CREATE TRIGGER booking_paid_has_its_payment BEFORE UPDATE OF state ON booking
WHEN NEW.state IN ('paid', 'used') AND NOT EXISTS (SELECT 1 FROM payment WHERE booking_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'booking: paid without a payment'); END;
