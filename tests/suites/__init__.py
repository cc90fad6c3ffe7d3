"""Test suites that others wrote for servers and proxies, run against a real gateway.

Each group of cases is one test, which names every case that failed. ``make test`` runs all cases,
and shortens only what takes its time (slow clients, repeated messages); ``make suites`` shortens
nothing.
"""
