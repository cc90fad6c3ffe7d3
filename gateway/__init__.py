"""Session Gateway: the server keeps the session, the browser keeps only a token."""

__version__ = "0.1.0"
