"""Proofs that caching grants hold: the rules against an independent model, and whole servers in simulated time.

`python -m tests.caching` runs as many histories and simulations as one has patience for.
"""
