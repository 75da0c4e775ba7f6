"""One module per SMB2 command (MS-SMB2 3.3.5): decode, one call to ntfsa, encode."""
