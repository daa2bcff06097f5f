-- What the HTTP API and webhooks need.

-- When a transaction was, and the facts that it wrote: pairs of packed 64-bit integers, of a recipient and of its row in
-- `attempt` or `event`; in place of that row's id, 0 less the place of a status that admission gave it (storage/feed.py).
ALTER TABLE change ADD COLUMN at_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE change ADD COLUMN facts BLOB;

-- What was answered to messages that came by the API with an Idempotency-Key, kept for a day.
CREATE TABLE posted (
    user TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL, -- of the request
    at_ms INTEGER NOT NULL,
    answer TEXT NOT NULL, -- JSON
    PRIMARY KEY (user, key)
) WITHOUT ROWID;
CREATE INDEX posted_at ON posted (at_ms);

-- Where events are sent to. `serial` and `place` are how far that is: those of `change`, and entries of it.
CREATE TABLE webhook (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    types TEXT NOT NULL, -- JSON
    user TEXT, -- whose mail alone it is told of; NULL: all
    created_ms INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    place INTEGER NOT NULL,
    failing_ms INTEGER, -- since when nothing was taken
    stopped_ms INTEGER, -- since when it is not active
    note TEXT NOT NULL -- why, and what went wrong last
) WITHOUT ROWID;

-- Events that an endpoint did not take and that are behind it: each is tried again at its times.
CREATE TABLE webhook_retry (
    webhook TEXT NOT NULL,
    serial INTEGER NOT NULL,
    place INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (webhook, serial, place)
) WITHOUT ROWID;
CREATE INDEX webhook_retry_due ON webhook_retry (webhook, due_ms);
