"""What is known about files and volumes: querying, setting, renaming, linking (MS-FSA 2.1.5.12 to 2.1.5.16)."""
