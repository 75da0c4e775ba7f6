"""It conforms to Lamina's contract: the whole conformance suite, a test for each case."""

from lamina.vfs_modules.testing.conformance import conformance_test

from lamina_rot13.conformance import profile

test_conforms = conformance_test(profile)
