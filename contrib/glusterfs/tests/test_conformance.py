"""The backend does what every backend must do."""

import os

import pytest
from lamina.vfs_modules.testing.conformance import conformance_test

from lamina_glusterfs.conformance import VARIABLE, profile

pytestmark = pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"no volume: set {VARIABLE}=volume@server to one for tests"
)

test_conforms = conformance_test(profile)
