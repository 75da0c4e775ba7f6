"""Change notification: who watches what, and what he is told (MS-FSA 2.1.5.11)."""
