-- What senders are to be told of their messages: a duty is written in the transaction that makes it one, and deleted
-- in the transaction that stores the mail that answers it.
CREATE TABLE duty (
    id INTEGER PRIMARY KEY,
    message_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    kind TEXT NOT NULL, -- failed, delayed, delivered, relayed, expanded, forward
    reported INTEGER NOT NULL, -- 1: a bounce message said so, and its event has the reply; 0: the recipient's row has
    dsn_id INTEGER, -- the mail that is to be forwarded
    due_ms INTEGER, -- NULL: it waits for the digest of `sender` and `broadcast`
    sender TEXT,
    broadcast TEXT
);
CREATE INDEX duty_due ON duty (due_ms) WHERE due_ms IS NOT NULL;
-- Content stays for what is owed of its message.
CREATE INDEX duty_message ON duty (message_id, due_ms);
CREATE INDEX duty_collected ON duty (sender, broadcast, id) WHERE due_ms IS NULL;

-- Duties that are answered together; `broadcast` is '' for those of no broadcast.
CREATE TABLE digest (
    sender TEXT NOT NULL,
    broadcast TEXT NOT NULL,
    due_ms INTEGER, -- when to look at it next; NULL: nothing waits
    first_ms INTEGER NOT NULL, -- since when something waits
    last_ms INTEGER, -- when the last one was sent
    complete INTEGER NOT NULL DEFAULT 0, -- 1: one was sent when all recipients of the broadcast were done
    told_to INTEGER NOT NULL DEFAULT 0, -- duties up to this id are answered, and only wait to be deleted
    PRIMARY KEY (sender, broadcast)
) WITHOUT ROWID;
CREATE INDEX digest_due ON digest (due_ms) WHERE due_ms IS NOT NULL;

ALTER TABLE recipient ADD COLUMN warned_ms INTEGER; -- when the sender was to be told of a delay
ALTER TABLE user ADD COLUMN answers TEXT; -- what the user wants to be told, as JSON; NULL: as configured
