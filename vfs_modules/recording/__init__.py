"""Recordings: what was asked of a chain and what it answered, as JSON lines (`form`), to be played to another."""
