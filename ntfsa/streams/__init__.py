"""Named streams: their opens, renames and deletion (MS-FSA 2.1.1.5)."""
