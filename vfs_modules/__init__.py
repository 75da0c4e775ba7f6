"""The VFS module contract, the chain that composes modules, the impersonating system calls and the stock modules."""
