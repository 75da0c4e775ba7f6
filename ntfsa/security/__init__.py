"""Security: descriptors, access checks, inheritance, audit, modes and POSIX ACLs (MS-DTYP 2.4, 2.5)."""
