"""Settings of all tests."""

import os

from hypothesis import settings

# What is tested is the code as it is, not a plan that it once made; `runtime/test_stored.py` has
# a cache of its own.
os.environ["MARTLET_PLANS"] = "none"

# Machines that run the tests are shared and slow at times; time is no subject of any test.
settings.register_profile("martlet", deadline=None)
settings.load_profile("martlet")
