"""Opening, sharing, closing and deleting (MS-FSA 2.1.5.1, 2.1.5.5)."""
