"""The pixel server: one answer for all, hits judged and recorded in groups."""
