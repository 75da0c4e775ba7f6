"""The modules that come with Lamina: each a file or a package, found by its entry point."""
