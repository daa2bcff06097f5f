"""Mail of our own to senders: reports of what became of theirs, digests, and what came to their return paths."""
