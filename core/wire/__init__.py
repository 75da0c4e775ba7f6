"""The SMB2 wire format (MS-SMB2 section 2.2) as pure functions: bytes to values and back.

One module per command, named as in the specification. Decoders take one message of a chain, from its 64-byte header to
its end, and raise `errors.WireError` for whatever is malformed, nothing else. Encoders return the body that follows the
header. No I/O, clock or state belongs here.
"""
