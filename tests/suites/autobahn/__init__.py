"""The WebSocket cases of the Autobahn test suite, played by a client of our own.

The case files are Autobahn's, read from its source distribution; they are written for Python 2 and
Twisted. ``cases`` makes them run here, ``endpoint`` is the client that they drive.
"""
