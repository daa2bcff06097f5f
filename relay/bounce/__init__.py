"""Bounce messages: parsing DSNs and complaints (pure)."""
