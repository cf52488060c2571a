-- What comes in for clients: the operator's rules, and which message went to whom by which.
--
-- A rule says what a text must have to be a client's: the number it was sent to, a keyword at its start, or
-- that it answers the client's own last message. Each of them belongs to one client only.

CREATE TABLE inbound_rule (
    id            INTEGER PRIMARY KEY,
    client_id     INTEGER NOT NULL REFERENCES client (id),
    number        TEXT NOT NULL DEFAULT '', -- texted, as the modem or provider names it; '' any
    keyword       TEXT NOT NULL DEFAULT '', -- as the operator wrote it; '' none
    folded        TEXT NOT NULL DEFAULT '', -- its folded words, which are compared
    replies       INTEGER NOT NULL DEFAULT 0, -- 1: answers to the client's last message
    mode          TEXT NOT NULL DEFAULT 'instead' CHECK (mode IN ('instead', 'besides')),
    created_at_ms INTEGER NOT NULL,
    CHECK (replies IN (0, 1) AND (replies = 1) = (number = '' AND folded = ''))
) STRICT;
CREATE UNIQUE INDEX inbound_rule_words ON inbound_rule (number, folded) WHERE replies = 0;
CREATE UNIQUE INDEX inbound_rule_replies ON inbound_rule (client_id) WHERE replies = 1;

CREATE TABLE client_inbound (
    inbound_id  INTEGER PRIMARY KEY REFERENCES inbound (id),
    client_id   INTEGER NOT NULL REFERENCES client (id),
    keyword     TEXT NOT NULL DEFAULT '',
    in_reply_to INTEGER REFERENCES outbound (id) -- the client's last message to this sender, if there was one
) STRICT;
CREATE INDEX client_inbound_client ON client_inbound (client_id, inbound_id);
