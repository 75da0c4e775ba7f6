"""The profile that the conformance suite judges this by: `lamina module test rot13`."""

from lamina.vfs_modules.testing.conformance import profile_of

from lamina_rot13.module import Rot13Module

profile = profile_of(Rot13Module)
