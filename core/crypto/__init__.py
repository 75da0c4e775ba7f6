"""Keys, signatures and encryption of MS-SMB2: pure functions and keyed objects over buffers, no I/O."""
