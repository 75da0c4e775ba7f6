"""What `fsspec` is made of: the store behind its own interface, what is known of its files, and their open contents."""
