"""Where persistent opens are kept: a transactional store of their records, and the commits of many at once."""
