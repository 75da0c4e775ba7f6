"""A file's bytes: reading, writing, copying and sharing them (MS-FSA 2.1.5.3, 2.1.5.4)."""
