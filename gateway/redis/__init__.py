"""Redis, alone, with Sentinels or as a Cluster: which server to ask, and how. Knows nothing of
sessions.
"""
