"""Webhooks: events sent to the endpoints of others, signed, and again until they are taken."""
