"""Test suites that others wrote for servers and proxies, run against a real gateway.

Each group of cases is one test, which names every case that failed. ``make test`` shortens what
takes its time (slow clients, repeated and very large messages); ``make suites`` shortens nothing.
"""
