"""Byte-range locks (MS-FSA 2.1.5.8, 2.1.5.9)."""
