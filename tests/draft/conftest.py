"""How the kernels are tried: with no eye on the clock, for the first call compiles."""

from hypothesis import settings

settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
