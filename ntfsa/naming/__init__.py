"""Names (MS-FSA 2.1.5.1, 2.1.4.4): from what a client writes to what the chain has."""
