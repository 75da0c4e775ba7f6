"""Opens that outlive their connection: what is kept of them, for whom, and how long (MS-SMB2 3.3.5.9.6 ff.)."""
