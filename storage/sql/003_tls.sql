-- MTA-STS policies (RFC 8461) as they were fetched, one a domain, for all processes. `wanted_ms` is when mail
-- last asked for it, to a day.
CREATE TABLE sts_policy (
    domain TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    mode TEXT NOT NULL,
    mx TEXT NOT NULL, -- names as a JSON list
    max_age INTEGER NOT NULL, -- seconds
    fetched_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    wanted_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- What TLS sessions came to, for the reports that domains ask for (RFC 8460), counted in groups: a row for each
-- way that sessions of a domain came out on a day (UTC, days since the Unix epoch). It goes with its report.
CREATE TABLE tls_session (
    day INTEGER NOT NULL,
    domain TEXT NOT NULL,
    policy TEXT NOT NULL, -- as in the report (RFC 8460, 4.4): type, text and hosts as JSON
    failure TEXT NOT NULL, -- the result type (4.3); '' for sessions that came to what was asked for
    mx TEXT NOT NULL,
    address TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, failure, mx, address, source, reason)
) WITHOUT ROWID;
