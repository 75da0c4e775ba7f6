"""The configuration file: what may stand in it, reading it, and saying what is wrong with it."""
