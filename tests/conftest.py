"""Settings of all tests."""

from hypothesis import settings

# Machines that run the tests are shared and slow at times; time is no subject of any test.
settings.register_profile("martlet", deadline=None)
settings.load_profile("martlet")
