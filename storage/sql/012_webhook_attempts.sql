-- What people see of webhooks: how it goes, what was tried lately, who ordered what.

ALTER TABLE webhook ADD COLUMN taken_ms INTEGER; -- when it took something last
ALTER TABLE webhook ADD COLUMN next_ms INTEGER; -- while it takes nothing: when it is called next
ALTER TABLE webhook ADD COLUMN former TEXT NOT NULL DEFAULT '[]'; -- JSON: secrets that sign along, each with its end

-- The last calls of each endpoint: some that were taken, and some that were not, so that these are not pushed out.
CREATE TABLE webhook_attempt (
    webhook TEXT NOT NULL,
    taken INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    serial INTEGER, -- with `place`: the event; NULL: a test
    place INTEGER,
    recipient_id INTEGER,
    status INTEGER NOT NULL, -- HTTP; 0: no answer
    words TEXT NOT NULL,
    tries INTEGER NOT NULL, -- with this one
    next_ms INTEGER, -- when it is tried again
    PRIMARY KEY (webhook, taken, id)
) WITHOUT ROWID;

-- Who ordered what.
CREATE TABLE webhook_change (
    webhook TEXT NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    change TEXT NOT NULL,
    actor TEXT NOT NULL,
    PRIMARY KEY (webhook, id)
) WITHOUT ROWID;
