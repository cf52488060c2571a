-- Contacts, their groups, and campaigns to them.
--
-- A campaign becomes messages slice by slice, in the order of the contacts' ids; `after_contact` is how far
-- it came. A slice's messages, their charge and that mark are one transaction, so no crash sends to a contact
-- twice or passes one over.

CREATE TABLE contact (
    id            INTEGER PRIMARY KEY,
    client_id     INTEGER NOT NULL REFERENCES client (id),
    number        TEXT NOT NULL,
    name          TEXT NOT NULL DEFAULT '',
    language      TEXT NOT NULL DEFAULT '',
    variables     TEXT NOT NULL DEFAULT '{}', -- JSON: values for a template's places
    -- Consent as the client had it: the words, how they came, when. 0: the client gave none.
    consent_words TEXT NOT NULL DEFAULT '',
    consent_how   TEXT NOT NULL DEFAULT '',
    consent_at_ms INTEGER NOT NULL DEFAULT 0,
    consent_by    TEXT NOT NULL DEFAULT '', -- the key that told us
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    UNIQUE (client_id, number)
) STRICT;
CREATE INDEX contact_client ON contact (client_id, id);

CREATE TABLE contact_group (
    id            INTEGER PRIMARY KEY,
    client_id     INTEGER NOT NULL REFERENCES client (id),
    name          TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (client_id, name)
) STRICT;

CREATE TABLE group_member (
    group_id   INTEGER NOT NULL REFERENCES contact_group (id) ON DELETE CASCADE,
    contact_id INTEGER NOT NULL REFERENCES contact (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, contact_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_contact ON group_member (contact_id);

CREATE TABLE campaign (
    id            INTEGER PRIMARY KEY,
    client_id     INTEGER NOT NULL REFERENCES client (id),
    name          TEXT NOT NULL,
    group_id      INTEGER REFERENCES contact_group (id) ON DELETE SET NULL,
    group_name    TEXT NOT NULL,
    body          TEXT NOT NULL, -- JSON: {"text"} or {"template"}, "lane", "validity_s", "texts" as they were
    per_minute    INTEGER NOT NULL CHECK (per_minute > 0),
    start_at_ms   INTEGER NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('scheduled', 'running', 'paused', 'done', 'cancelled')),
    reason        TEXT NOT NULL DEFAULT '',
    after_contact INTEGER NOT NULL DEFAULT 0,
    next_slice_ms INTEGER NOT NULL DEFAULT 0,
    contacts      INTEGER NOT NULL DEFAULT 0, -- in the group when it was made
    accepted      INTEGER NOT NULL DEFAULT 0,
    opted_out     INTEGER NOT NULL DEFAULT 0, -- passed over: they said STOP
    refused       INTEGER NOT NULL DEFAULT 0, -- passed over: no message could be made for them
    refused_why   TEXT NOT NULL DEFAULT '',   -- of the last one
    units         INTEGER NOT NULL DEFAULT 0,
    made_by       TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER
) STRICT;
CREATE INDEX campaign_client ON campaign (client_id, id);
CREATE INDEX campaign_due ON campaign (next_slice_ms) WHERE state IN ('scheduled', 'running');
CREATE INDEX campaign_cancelled ON campaign (id) WHERE state = 'cancelled';

CREATE TABLE campaign_message (
    outbound_id INTEGER PRIMARY KEY REFERENCES outbound (id),
    campaign_id INTEGER NOT NULL REFERENCES campaign (id)
) STRICT;
CREATE INDEX campaign_message_of ON campaign_message (campaign_id, outbound_id);

-- How many messages of a campaign are in each state, kept by the statement that moves the message.
CREATE TABLE campaign_progress (
    campaign_id INTEGER NOT NULL REFERENCES campaign (id),
    state       TEXT NOT NULL,
    messages    INTEGER NOT NULL,
    PRIMARY KEY (campaign_id, state)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER campaign_message_counted AFTER INSERT ON campaign_message BEGIN
    INSERT INTO campaign_progress (campaign_id, state, messages)
    SELECT NEW.campaign_id, state, 1 FROM outbound WHERE id = NEW.outbound_id
    ON CONFLICT DO UPDATE SET messages = messages + 1;
END;
CREATE TRIGGER campaign_message_moved AFTER UPDATE OF state ON outbound
WHEN NEW.client_id > 0 AND NEW.state <> OLD.state
    AND EXISTS (SELECT 1 FROM campaign_message WHERE outbound_id = NEW.id)
BEGIN
    UPDATE campaign_progress SET messages = messages - 1 WHERE state = OLD.state
        AND campaign_id = (SELECT campaign_id FROM campaign_message WHERE outbound_id = NEW.id);
    INSERT INTO campaign_progress (campaign_id, state, messages)
    SELECT campaign_id, NEW.state, 1 FROM campaign_message WHERE outbound_id = NEW.id
    ON CONFLICT DO UPDATE SET messages = messages + 1;
END;
