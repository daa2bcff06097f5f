-- Which stretches have recipients of a broadcast, of a user, of a sender's domain: what is asked for by one of these
-- is looked for there and nowhere else, however long ago it was. Some rows a stretch, entered with it.
CREATE TABLE stretch_of (
    what TEXT NOT NULL, -- broadcast, user, sender
    name TEXT NOT NULL,
    stretch INTEGER NOT NULL,
    PRIMARY KEY (what, name, stretch)
) WITHOUT ROWID;
CREATE INDEX stretch_of_stretch ON stretch_of (stretch);
INSERT INTO stretch_of SELECT DISTINCT 'broadcast', broadcast, stretch FROM by_broadcast ORDER BY 2, 3;
INSERT INTO stretch_of SELECT DISTINCT 'user', user, stretch FROM by_user ORDER BY 2, 3;
INSERT INTO stretch_of SELECT DISTINCT 'sender', sender_domain, stretch FROM by_sender ORDER BY 2, 3;
