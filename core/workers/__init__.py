"""A server of several worker processes: a supervisor that accepts connections, and the workers that serve them."""
