"""Broadcasts that this program sends itself: templates, and the runner that gives their messages to the queue."""
