"""The files of the distributions that `lamina module new` writes, as texts; "@name@" and its kin are filled in."""
