-- Contacts, what they do not want, and the Blocked Email list. Addresses are in the one form that
-- storage/address.py gives (`address_key`). Indexes of them fold the letters A-Z; what must be told apart by
-- the case of a local part is compared again where it is asked. These tables do not grow with the log.

CREATE TABLE contact (
    id INTEGER PRIMARY KEY,
    key TEXT, -- what the sender's own system knows it by
    name TEXT NOT NULL,
    fields TEXT NOT NULL, -- an object of texts, as JSON
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX contact_key ON contact (key) WHERE key IS NOT NULL;
CREATE INDEX contact_name ON contact (name COLLATE NOCASE) WHERE name <> '';

-- An address belongs to one contact; the verbs see to it. `types`: the broadcast types that it takes, a
-- sorted array as JSON; NULL: all.
CREATE TABLE contact_address (
    contact_id INTEGER NOT NULL,
    position INTEGER NOT NULL, -- 0: where mail of no type, and of any that it takes, goes first
    address TEXT NOT NULL COLLATE NOCASE,
    domain TEXT NOT NULL,
    types TEXT,
    PRIMARY KEY (contact_id, position)
) WITHOUT ROWID;
CREATE INDEX contact_address_address ON contact_address (address);
-- Contacts come with rising ids: of each domain, the right end grows.
CREATE INDEX contact_address_domain ON contact_address (domain, contact_id);
CREATE INDEX contact_address_choosy ON contact_address (contact_id) WHERE types IS NOT NULL;

CREATE TABLE list (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    created_ms INTEGER NOT NULL
);
CREATE TABLE list_member (
    list_id INTEGER NOT NULL,
    contact_id INTEGER NOT NULL,
    PRIMARY KEY (list_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX list_member_contact ON list_member (contact_id, list_id);

-- What addresses do not want any more, whether or not they are a contact's. `type` is a broadcast type, or
-- "*": all of them.
CREATE TABLE unsubscribed (
    address TEXT NOT NULL COLLATE NOCASE,
    type TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    source TEXT NOT NULL, -- one-click, operator, import …
    recipient_id INTEGER, -- by whose copy
    PRIMARY KEY (address, type)
) WITHOUT ROWID;

-- The Blocked Email list. An address "@example.org" blocks all of that domain. Each source has a row of its own:
-- what a complaint blocks stays blocked when an incident is undone.
CREATE TABLE blocked (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL COLLATE NOCASE,
    domain TEXT NOT NULL,
    source TEXT NOT NULL, -- manual, import, failed, complaint, bounces
    category TEXT, -- as in `attempt`
    reason TEXT NOT NULL, -- for people: the reply, or what the operator wrote
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    recipient_id INTEGER, -- by whose copy
    UNIQUE (address, source)
);
CREATE INDEX blocked_domain ON blocked (domain, id);
CREATE INDEX blocked_created ON blocked (created_ms);
CREATE INDEX blocked_expires ON blocked (expires_ms) WHERE expires_ms IS NOT NULL;

-- What was done to the list, by whom: one row a change, kept as long as the log.
CREATE TABLE blocked_change (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    change TEXT NOT NULL, -- added, changed, removed, undone, expired
    address TEXT NOT NULL COLLATE NOCASE,
    source TEXT NOT NULL, -- as in `blocked`, of the entry
    category TEXT,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL, -- the operator's login, or "telltale"
    recipient_id INTEGER
);
CREATE INDEX blocked_change_address ON blocked_change (address, id);
CREATE INDEX blocked_change_at ON blocked_change (at_ms);

-- Final bounces of the last days that may come to a block when there are enough of them for an address.
CREATE TABLE bounce_count (
    address TEXT NOT NULL COLLATE NOCASE,
    recipient_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (address, recipient_id)
) WITHOUT ROWID;
CREATE INDEX bounce_count_at ON bounce_count (at_ms);
