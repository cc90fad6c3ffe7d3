"""Sessions that other frameworks issue, as this process has them: one source for each of
``session.accept``.
"""
