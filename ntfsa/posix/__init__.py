"""The POSIX extensions of SMB 3.1.1 at the NT level."""
