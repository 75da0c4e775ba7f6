"""NT file-system semantics (MS-FSA): opens, sharing, locks, names, information classes, security."""
