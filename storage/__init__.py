"""The ground: words, status table, tokens, the store. Imports nothing from upstairs."""
