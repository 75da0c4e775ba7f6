"""Remote procedure calls over named pipes: the DCE/RPC machinery and the interfaces that clients ask for shares with.

From the bottom: `ndr` (transfer syntax), `pdu` (packets), `levels` (information levels as tables), `interface` (what an
interface is), `srvsvc` and `wkssvc` (the two there are), `association` (one client's conversation) and `pipes`, which
is all that the SMB engine sees, together with `view`, which is all that this package sees of the engine.
"""
