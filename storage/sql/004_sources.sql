-- Leases that came to no end of ours: the process that held one died, or never came back to it.
ALTER TABLE recipient ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
-- The address of ours that an attempt went out from, where the operator chose one.
ALTER TABLE attempt ADD COLUMN source TEXT;
