"""Samba's conformance suite, one process per test, held to a list of what must pass."""
