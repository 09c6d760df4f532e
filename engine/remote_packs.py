"""Training and evaluation on the packs of a data root at a URL, which are copied to a local cache first."""

from __future__ import annotations

from collections.abc import Iterable

from dataset.packed.remote import fetch_packs
from engine.config import RunConfig
from utils.errors import UsageError
from utils.remote import is_url


def with_local_packs(config: RunConfig, splits: Iterable[str]) -> RunConfig:
    """Copy the packs of splits if the data root is a URL, and return a config that reads the copies.

    Raises:
        UsageError: the config reads something else than packs, or the URL has no pack of a split.
        WorkError: a file cannot be copied.
    """
    url = config.extract_path
    if not is_url(url):
        return config
    if config.data.source != "packed":
        raise UsageError(
            f"extract_path={url}: training reads packs from URLs, not clips or one file per clip; set data.source=packed "
            f"(packs are written by `python utils/pack_features.py --upload {url}`), or copy the data root to a local disk"
        )
    labels = {split: getattr(config.label_name, split) for split in splits}
    return config.with_local_root(fetch_packs(url, labels, config.data.raw_suffix))
