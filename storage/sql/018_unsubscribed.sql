-- Who unsubscribed, the newest first.
CREATE INDEX unsubscribed_at ON unsubscribed (at_ms DESC, address, type);
