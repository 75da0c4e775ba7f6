"""Who a client is: SPNEGO, NTLM and Kerberos acceptors, the accounts, and the brake on guessing (MS-SMB2 3.3.5.5.3)."""
