-- What the pages tell in numbers, counted in the transactions that change it. An hour is that in which recipients
-- were accepted, as their ids have it (hours since the Unix epoch). A counter outlives the rows that it counted.

CREATE TABLE hour_count (
    hour INTEGER PRIMARY KEY,
    unsent INTEGER NOT NULL, -- how many of them are in each status now
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
-- The same of each user's own mail.
CREATE TABLE user_hour_count (
    user TEXT NOT NULL,
    hour INTEGER NOT NULL,
    unsent INTEGER NOT NULL,
    soft_bounced INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    no_email_selected INTEGER NOT NULL,
    PRIMARY KEY (user, hour)
) WITHOUT ROWID;
CREATE INDEX user_hour_count_hour ON user_hour_count (hour);

-- Of a broadcast's first message.
ALTER TABLE broadcast ADD COLUMN from_header TEXT NOT NULL DEFAULT '';
ALTER TABLE broadcast ADD COLUMN subject TEXT NOT NULL DEFAULT '';
-- How many of its domains have counters of their own.
ALTER TABLE broadcast ADD COLUMN domains INTEGER NOT NULL DEFAULT 0;
-- Whether a mail client or provider fetched the image ahead, read or not.
ALTER TABLE recipient ADD COLUMN prefetched INTEGER NOT NULL DEFAULT 0;

CREATE TABLE broadcast_count (
    broadcast_id INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    unsent INTEGER NOT NULL,
    soft_bounced INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    bounced INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    no_email_selected INTEGER NOT NULL,
    trackable INTEGER NOT NULL, -- Opened, or Sent or Delivered with an image; and of these:
    fetched INTEGER NOT NULL, -- a machine fetched the image
    fetched_only INTEGER NOT NULL, -- and nobody opened it
    prefetched INTEGER NOT NULL, -- the machine was the recipient's own mail client or provider
    PRIMARY KEY (broadcast_id, hour)
) WITHOUT ROWID;

-- Recipients of a broadcast by anything else (storage/tally.py): what = domain, trackable, opened, failed: key is the
-- domain ('': all that have no counter of their own); what = hour: the hour of the first open; waited: how long after
-- delivery that was; why: status and category of those that ended Bounced or Failed.
CREATE TABLE broadcast_share (
    broadcast_id INTEGER NOT NULL,
    what TEXT NOT NULL,
    key TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    PRIMARY KEY (broadcast_id, what, key)
) WITHOUT ROWID;

-- Addresses that servers called invalid, by whose mail it was; the newest word on each.
CREATE TABLE invalid_address (
    user TEXT NOT NULL, -- '': of the trusted networks
    address TEXT NOT NULL COLLATE NOCASE,
    at_ms INTEGER NOT NULL, -- when it was last tried
    code INTEGER,
    enhanced TEXT,
    diagnostic TEXT NOT NULL,
    category TEXT,
    recipient_id INTEGER NOT NULL,
    PRIMARY KEY (user, address)
) WITHOUT ROWID;
CREATE INDEX invalid_address_user_at ON invalid_address (user, at_ms);
CREATE INDEX invalid_address_at ON invalid_address (at_ms);

-- What is in the log already.
UPDATE recipient SET prefetched = 1 WHERE machine_hits > 0
    AND EXISTS (SELECT 1 FROM event e WHERE e.recipient_id = recipient.id AND e.hit = 'prefetch');
INSERT INTO hour_count SELECT (id >> 10) / 3600000000, sum(status = 'Unsent'), sum(status = 'Soft Bounced'),
    sum(status = 'Sent'), sum(status = 'Delivered'), sum(status = 'Opened'), sum(status = 'Bounced'),
    sum(status = 'Failed'), sum(status = 'Blocked'), sum(status = 'Duplicate'), sum(status = 'No Email Selected')
    FROM recipient GROUP BY 1;
INSERT INTO user_hour_count SELECT m.user, (r.id >> 10) / 3600000000, sum(status = 'Unsent'),
    sum(status = 'Soft Bounced'), sum(status = 'Sent'), sum(status = 'Delivered'), sum(status = 'Opened'),
    sum(status = 'Bounced'), sum(status = 'Failed'), sum(status = 'Blocked'), sum(status = 'Duplicate'),
    sum(status = 'No Email Selected')
    FROM recipient r JOIN message m ON m.id = r.message_id WHERE m.user IS NOT NULL GROUP BY 1, 2;
INSERT INTO broadcast (id, owner, name, type, created_ms, used_ms)
    SELECT min(id), ifnull(user, ''), broadcast, ifnull(broadcast_type, ''), min(received_ms), max(received_ms)
    FROM message WHERE broadcast IS NOT NULL AND broadcast <> '' GROUP BY 2, 3
    ON CONFLICT (owner, name) DO NOTHING;
UPDATE broadcast SET (from_header, subject) = (m.from_header, m.subject) FROM
    (SELECT ifnull(user, '') AS owner, broadcast, from_header, subject, min(id) FROM message
     WHERE broadcast IS NOT NULL GROUP BY 1, 2) AS m WHERE m.owner = broadcast.owner AND m.broadcast = broadcast.name;
CREATE TEMP VIEW counted AS SELECT b.id AS broadcast_id, r.id, r.domain, r.status, r.category, r.machine_hits > 0 AS fetched,
    r.prefetched, r.first_open_ms, r.delivered_ms, (r.id >> 10) / 3600000000 AS hour,
    r.status = 'Opened' OR (m.untracked_reason IS NULL AND r.status IN ('Sent', 'Delivered')) AS trackable
    FROM recipient r JOIN message m ON m.id = r.message_id
    JOIN broadcast b ON b.owner = ifnull(m.user, '') AND b.name = m.broadcast;
INSERT INTO broadcast_count SELECT broadcast_id, hour, sum(status = 'Unsent'), sum(status = 'Soft Bounced'),
    sum(status = 'Sent'), sum(status = 'Delivered'), sum(status = 'Opened'), sum(status = 'Bounced'),
    sum(status = 'Failed'), sum(status = 'Blocked'), sum(status = 'Duplicate'), sum(status = 'No Email Selected'),
    sum(trackable), sum(trackable AND fetched), sum(trackable AND fetched AND status <> 'Opened'),
    sum(trackable AND prefetched) FROM counted GROUP BY 1, 2;
INSERT INTO broadcast_share SELECT broadcast_id, 'hour', CAST(first_open_ms / 3600000 AS TEXT), count(*) FROM counted
    WHERE status = 'Opened' GROUP BY 1, 3;
INSERT INTO broadcast_share SELECT broadcast_id, 'waited', CASE WHEN waited < 60000 THEN '0' WHEN waited < 300000 THEN '1'
    WHEN waited < 900000 THEN '2' WHEN waited < 3600000 THEN '3' WHEN waited < 14400000 THEN '4'
    WHEN waited < 43200000 THEN '5' WHEN waited < 86400000 THEN '6' WHEN waited < 259200000 THEN '7'
    WHEN waited < 604800000 THEN '8' ELSE '9' END, count(*)
    FROM (SELECT broadcast_id, first_open_ms - ifnull(delivered_ms, first_open_ms) AS waited FROM counted
          WHERE status = 'Opened') GROUP BY 1, 3;
INSERT INTO broadcast_share SELECT broadcast_id, 'why', status || ':' || ifnull(category, ''), count(*) FROM counted
    WHERE status IN ('Bounced', 'Failed') GROUP BY 1, 3;
INSERT INTO broadcast_share SELECT broadcast_id, 'domain', domain, recipients FROM
    (SELECT broadcast_id, domain, count(*) AS recipients,
     row_number() OVER (PARTITION BY broadcast_id ORDER BY min(id)) AS place FROM counted GROUP BY 1, 2) WHERE place <= 5000;
UPDATE broadcast SET domains = (SELECT count(*) FROM broadcast_share WHERE broadcast_id = broadcast.id AND what = 'domain');
INSERT INTO broadcast_share SELECT broadcast_id, 'domain', '', count(*) FROM counted c WHERE NOT EXISTS
    (SELECT 1 FROM broadcast_share s WHERE s.broadcast_id = c.broadcast_id AND what = 'domain' AND key = c.domain) GROUP BY 1;
INSERT INTO broadcast_share SELECT c.broadcast_id, w.what, ifnull(s.key, ''), count(*) FROM counted c
    JOIN (SELECT 'trackable' AS what UNION ALL SELECT 'opened' UNION ALL SELECT 'failed') w
    ON CASE w.what WHEN 'trackable' THEN trackable WHEN 'opened' THEN status = 'Opened'
       ELSE status IN ('Bounced', 'Failed') END
    LEFT JOIN broadcast_share s ON s.broadcast_id = c.broadcast_id AND s.what = 'domain' AND s.key = c.domain GROUP BY 1, 2, 3;
DROP VIEW counted;
INSERT INTO invalid_address SELECT ifnull(m.user, ''), r.address, ifnull(r.last_attempt_ms, (r.id >> 10) / 1000), r.code,
    r.enhanced, r.diagnostic, r.category, r.id FROM recipient r JOIN message m ON m.id = r.message_id
    WHERE r.status = 'Failed' ORDER BY r.id
    ON CONFLICT (user, address) DO UPDATE SET at_ms = excluded.at_ms, code = excluded.code,
    enhanced = excluded.enhanced, diagnostic = excluded.diagnostic, category = excluded.category,
    recipient_id = excluded.recipient_id WHERE excluded.at_ms >= invalid_address.at_ms;
INSERT INTO invalid_address SELECT ifnull(m.user, ''), r.address, ifnull(r.last_attempt_ms, (r.id >> 10) / 1000), e.code,
    e.enhanced, ifnull(e.reply, ''), e.category, r.id FROM event e JOIN recipient r ON r.id = e.recipient_id
    JOIN message m ON m.id = r.message_id WHERE e.kind = 'report' AND e.event = 'fail' AND r.late <> '' ORDER BY r.id, e.id
    ON CONFLICT (user, address) DO UPDATE SET at_ms = excluded.at_ms, code = excluded.code,
    enhanced = excluded.enhanced, diagnostic = excluded.diagnostic, category = excluded.category,
    recipient_id = excluded.recipient_id WHERE excluded.at_ms >= invalid_address.at_ms;
