"""The house itself: its checks, its documents, its packages."""
