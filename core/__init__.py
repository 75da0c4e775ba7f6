"""The SMB2/3 protocol (MS-SMB2) and the application around it: wire, transport, crypto, sessions, commands, RPC."""
