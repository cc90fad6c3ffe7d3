"""Settings -> configuration, section by section, each checked against the rest of the file."""
