"""Email Log and reports: questions to the store, answers for people and programs."""
