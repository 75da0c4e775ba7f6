"""Directory listings (MS-FSA 2.1.5.6.3)."""
