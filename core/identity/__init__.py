"""Who a SID, a uid or a name is: the maps between Windows' identities and the system's, and domain users' tokens."""
