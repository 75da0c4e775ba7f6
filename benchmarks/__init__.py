"""Measures what an operation costs the server: see README.md beside this file."""
