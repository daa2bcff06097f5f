-- Broadcasts: messages of one name and owner that an address gets once, and what the command line sends.

-- `owner` is the user who submitted, '' for the trusted networks and the command line, which share one.
CREATE TABLE broadcast (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL, -- when it was last sent to somebody, to the hour
    UNIQUE (owner, name)
);

-- Whom a broadcast was sent to: what finds its key here is Duplicate. Written in the transaction of the
-- accept. The keys of a broadcast are as random as addresses are; only messages with a broadcast pay for it.
CREATE TABLE broadcast_ledger (
    broadcast_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (broadcast_id, key)
) WITHOUT ROWID;

-- One `telltale broadcast send`: what is sent, to how many, and how far it came. Those that it goes to wait in
-- broadcast_chunk, some hundred a row; a chunk is deleted, and `done_chunks` and `done` rise, in the transaction that
-- accepts its messages, so that nobody is left out and nobody gets it twice.
CREATE TABLE broadcast_run (
    id INTEGER PRIMARY KEY,
    broadcast_id INTEGER NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL, -- draft, scheduled, sending, paused, done, cancelled
    created_ms INTEGER NOT NULL,
    start_ms INTEGER, -- when it is to begin
    started_ms INTEGER, -- when it began
    ended_ms INTEGER,
    sender TEXT NOT NULL,
    subject TEXT NOT NULL,
    template BLOB NOT NULL,
    personal INTEGER NOT NULL,
    per_hour INTEGER, -- copies an hour; NULL: as fast as they go
    chunks INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done_chunks INTEGER NOT NULL,
    done INTEGER NOT NULL,
    unsent INTEGER NOT NULL, -- how many of them were to be sent, and the others by their status
    blocked INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    no_email_selected INTEGER NOT NULL,
    note TEXT NOT NULL, -- why it was paused by itself
    first_message INTEGER -- the lowest id of its messages
);
CREATE INDEX broadcast_run_of ON broadcast_run (broadcast_id);
CREATE INDEX broadcast_run_open ON broadcast_run (id) WHERE state IN ('draft', 'scheduled', 'sending', 'paused');

CREATE TABLE broadcast_chunk (
    run_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    recipients BLOB NOT NULL, -- a JSON array of [address, name, fields]
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;

-- The messages of runs.
CREATE TABLE broadcast_run_message (
    message_id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL
);
