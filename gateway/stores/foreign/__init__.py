"""Sessions that another framework keeps: read where the app has them, each as a ``LookupStore``.

A ``SessionKey`` is here what the framework itself calls the session: its id or token, which opens
it. It is never logged.
"""
