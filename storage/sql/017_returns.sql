-- What came back to one return path, or to none, in its order: how much of it is kept has a bound (storage/dsn_room.py).
CREATE INDEX dsn_of ON dsn (recipient_id, id);
