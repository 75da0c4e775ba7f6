"""The four times of a file, and who may change them when (MS-FSA 2.1.1.3)."""
