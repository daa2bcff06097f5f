"""The front door: command line, configuration, supervisor, doctor."""
