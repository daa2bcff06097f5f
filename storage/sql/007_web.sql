-- Who may see what in the browser and by the API, and what the pages need to find.

-- What a user may see; all of them but viewers may submit mail too.
ALTER TABLE user ADD COLUMN role TEXT NOT NULL DEFAULT 'sender';

-- Sessions, API tokens and links are found by the hash of what their holder shows: who reads the store can
-- use none of them.
CREATE TABLE session (
    hash BLOB PRIMARY KEY,
    user TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL, -- to some minutes
    client TEXT NOT NULL,
    agent TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_user ON session (user, made_ms);

CREATE TABLE api_token (
    hash BLOB PRIMARY KEY,
    prefix TEXT NOT NULL UNIQUE, -- its first characters, which name it
    user TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL, -- JSON
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    used_ms INTEGER -- to some minutes
) WITHOUT ROWID;
CREATE INDEX api_token_user ON api_token (user);

-- The link that makes the first administrator.
CREATE TABLE setup_link (
    hash BLOB PRIMARY KEY,
    expires_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- As by_address: whose mail it is, and of which broadcast.
CREATE TABLE by_user (
    stretch INTEGER NOT NULL,
    user TEXT NOT NULL,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (stretch, user, recipient_id)
) WITHOUT ROWID;
CREATE TABLE by_broadcast (
    stretch INTEGER NOT NULL,
    broadcast TEXT NOT NULL,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (stretch, broadcast, recipient_id)
) WITHOUT ROWID;
INSERT INTO by_user SELECT f.stretch, m.user, r.id FROM by_address f
    JOIN recipient r ON r.id = f.recipient_id JOIN message m ON m.id = r.message_id
    WHERE m.user IS NOT NULL ORDER BY 1, 2, 3;
INSERT INTO by_broadcast SELECT f.stretch, m.broadcast, r.id FROM by_address f
    JOIN recipient r ON r.id = f.recipient_id JOIN message m ON m.id = r.message_id
    WHERE m.broadcast IS NOT NULL ORDER BY 1, 2, 3;

-- The words of the log, entered by the report server behind the back of those who deliver (storage/words.py).
-- The text itself is not kept a second time.
CREATE VIRTUAL TABLE message_words USING fts5(
    subject, sender, broadcast,
    content='', columnsize=0, detail=none, tokenize="unicode61 remove_diacritics 2"
);
CREATE VIRTUAL TABLE address_words USING fts5(
    address,
    content='', columnsize=0, detail=none, tokenize="unicode61 remove_diacritics 2"
);
-- How far that came: a key of by_address.
CREATE TABLE words_entered (
    stretch INTEGER NOT NULL,
    domain TEXT NOT NULL,
    address TEXT NOT NULL COLLATE NOCASE,
    recipient_id INTEGER NOT NULL
);
INSERT INTO words_entered VALUES (0, '', '', 0);
