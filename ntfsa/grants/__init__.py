"""Caching grants: oplocks and leases, who gets them and what breaks them (MS-FSA 2.1.5.18, 2.1.4.12)."""
