"""The near side: from an accepted connection to the answer."""
