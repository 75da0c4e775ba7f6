"""What the module `recycle` is made of: its options, what is noted of a deleted file, and the bins themselves."""
