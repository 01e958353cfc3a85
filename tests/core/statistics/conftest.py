"""Settings of the property tests of statistics."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: how long an example takes is not what these tests are about.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
