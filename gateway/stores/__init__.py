"""Sessions at rest, one file a store."""
