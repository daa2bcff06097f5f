-- The queue and the log. Times are milliseconds since the Unix epoch; ids are the store's own, rising
-- with time (storage/owners.py), so that new rows and new index entries go to the right end of their
-- trees. Keys without such an order (addresses, Message-IDs) are not indexed row by row, which would
-- write a page of its own for each message: see `stretch`.

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    sender TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    body TEXT NOT NULL,
    smtputf8 INTEGER NOT NULL,
    size INTEGER NOT NULL,
    plan BLOB NOT NULL,
    envid TEXT,
    ret TEXT,
    user TEXT,
    client TEXT NOT NULL,
    message_id TEXT NOT NULL,
    from_header TEXT NOT NULL,
    subject TEXT NOT NULL,
    untracked_reason TEXT,
    broadcast TEXT,
    broadcast_type TEXT,
    -- Its recipients' ids lie between these, and few others do: an index of recipients by message would
    -- cost each message one more page.
    first_recipient INTEGER,
    last_recipient INTEGER
);

-- Kept while a recipient of the message is pending. Small content is in `body`, large content in the
-- file state_dir/content/`file`.
CREATE TABLE content (
    message_id INTEGER PRIMARY KEY,
    body BLOB,
    file TEXT
);

-- `due_ms` is set exactly while the recipient is pending: when to try it next and, under a lease, when
-- the lease expires. One column, so that what nobody holds and what its holder lost are found alike.
-- A held recipient is due at the end of time (storage/rows.py, NEVER).
CREATE TABLE recipient (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    address TEXT NOT NULL,
    domain TEXT NOT NULL,
    notify TEXT,
    orcpt TEXT,
    expires_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_ms INTEGER,
    lease INTEGER,
    last_attempt_ms INTEGER,
    code INTEGER,
    enhanced TEXT,
    diagnostic TEXT NOT NULL DEFAULT '',
    category TEXT, -- why the last reply refused
    mx TEXT,
    mx_address TEXT,
    delivered_ms INTEGER,
    in_doubt_ms INTEGER,
    opens INTEGER NOT NULL DEFAULT 0,
    machine_hits INTEGER NOT NULL DEFAULT 0,
    first_open_ms INTEGER,
    late TEXT NOT NULL DEFAULT ''
);
-- What the queue still has to serve, of a message.
CREATE INDEX recipient_pending ON recipient (message_id) WHERE due_ms IS NOT NULL;
-- What may be claimed, in order; lease and domain are here so that a scan need not touch the rows.
CREATE INDEX recipient_due ON recipient (due_ms, lease, domain) WHERE due_ms IS NOT NULL;
-- Unsent is found by recipient_pending, Delivered is what most rows are.
CREATE INDEX recipient_status ON recipient (status) WHERE status NOT IN ('Unsent', 'Delivered');

CREATE TABLE attempt (
    recipient_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    phase TEXT NOT NULL,
    code INTEGER NOT NULL,
    enhanced TEXT,
    text TEXT NOT NULL,
    category TEXT, -- why it refused; `rules`: by which version of the table
    rules INTEGER,
    mx TEXT,
    address TEXT,
    tls TEXT,
    in_doubt INTEGER NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (recipient_id, id)
) WITHOUT ROWID;

-- Hits, reports and what operators did.
CREATE TABLE event (
    recipient_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    status TEXT NOT NULL,
    event TEXT,
    code INTEGER,
    enhanced TEXT,
    reply TEXT,
    category TEXT, -- as in `attempt`
    rules INTEGER,
    mx TEXT,
    dsn_id INTEGER, -- the bounce message that a report or a complaint came in
    hit TEXT,
    address TEXT,
    agent TEXT,
    PRIMARY KEY (recipient_id, id)
) WITHOUT ROWID;

-- What a transaction did: one row a transaction, for followers of the log and for counts. Kept for a day
-- after its stretch was made; the last row stays.
CREATE TABLE change (
    serial INTEGER PRIMARY KEY,
    touched BLOB NOT NULL, -- recipient ids as packed 64-bit integers
    accepted TEXT, -- those that are new, as JSON
    unsent INTEGER NOT NULL, -- how many recipients of the whole log are in each status after it
    soft_bounced INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    no_email_selected INTEGER NOT NULL
);
INSERT INTO change VALUES (1, x'', NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

-- How addresses and Message-IDs are found: when some thousand recipients were accepted, they are entered
-- into the three tables below as one stretch, sorted, at the right ends of the trees. A question probes
-- each stretch, and looks through what was accepted since.
CREATE TABLE stretch (
    number INTEGER PRIMARY KEY,
    made_ms INTEGER NOT NULL,
    serial INTEGER NOT NULL, -- it holds what changes up to this one accepted
    first_id INTEGER NOT NULL, -- of recipients
    last_id INTEGER NOT NULL
);
CREATE TABLE by_address (
    stretch INTEGER NOT NULL,
    domain TEXT NOT NULL,
    address TEXT NOT NULL COLLATE NOCASE,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (stretch, domain, address, recipient_id)
) WITHOUT ROWID;
CREATE TABLE by_sender (
    stretch INTEGER NOT NULL,
    sender_domain TEXT NOT NULL,
    sender TEXT NOT NULL COLLATE NOCASE,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (stretch, sender_domain, sender, recipient_id)
) WITHOUT ROWID;
CREATE TABLE by_header (
    stretch INTEGER NOT NULL,
    header TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (stretch, header, message_id)
) WITHOUT ROWID;

-- Between which ids the messages and recipients of an hour lie, so that a time finds its ids. The bounds
-- are generous, since a bound that fitted would be written anew with each group.
CREATE TABLE hour (
    hour INTEGER PRIMARY KEY,
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL
);

-- Bounce messages as they came; `kind` is NULL until they are settled, `reports` is how many recipients they
-- were matched with. `raw` comes last: it may be large, and what stands behind it is slow to reach.
CREATE TABLE dsn (
    id INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    recipient_id INTEGER, -- whose signed return path it came to; NULL: it came to postmaster
    sender TEXT NOT NULL,
    kind TEXT,
    reports INTEGER NOT NULL DEFAULT 0,
    raw BLOB NOT NULL
);
CREATE INDEX dsn_waiting ON dsn (id) WHERE kind IS NULL;
-- What speaks of nobody that we know; storage/lookups.py asks in these very words.
CREATE INDEX dsn_unmatched ON dsn (id)
    WHERE reports = 0 AND (kind IN ('dsn', 'complaint') OR (kind = 'none' AND recipient_id IS NULL));

CREATE TABLE user (
    name TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    senders TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
