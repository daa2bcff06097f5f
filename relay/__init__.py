"""The relay: receive, inject, deliver, bounce; `worker.py` joins them."""
