"""Commands (one file each) and the lowest layers: media, features, metrics and small shared modules."""

from utils.numba_cache import set_numba_cache

set_numba_cache()
