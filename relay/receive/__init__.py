"""Submission and bounce listeners: from a socket to a committed message."""
