"""What the module `audit` is made of: records, where they go, and the thread that takes them there."""
