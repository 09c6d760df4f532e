"""timm backbones with a pretrained start where one can be had, and an honest word where not."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Literal

import timm
from torch import nn

from utils.errors import UsageError

log = logging.getLogger(__name__)

HUB = ("huggingface.co", 443)
HUB_TIMEOUT_S = 3.0


def create_backbone(
    name: str, *, pretrained: bool | Literal["auto"], weights: str | None = None, num_classes: int = 0
) -> tuple[nn.Module, str]:
    """A timm model and how its weights began.

    Args:
        name: any timm architecture.
        pretrained: `True` fails without weights, `"auto"` warns and starts at random, `False` never looks.
        weights: a local weight file in timm's format; looked at unless `pretrained` is false.
        num_classes: outputs of the head; 0 gives pooled features.

    Returns:
        The module, and `random` or `imagenet (<where from>)`.

    Raises:
        UsageError: unknown architecture, or no weights while they are demanded.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise UsageError(f"timm has no model {name!r}" + (f"; there are {', '.join(near)}" if near else ""))
    if pretrained is not False:
        try:
            return _create_pretrained(name, weights, num_classes)
        except UsageError as error:
            if pretrained is True:
                raise
            log.warning("no pretrained weights for %s (%s): it starts at random", name, error)
    return timm.create_model(name, pretrained=False, num_classes=num_classes), "random"


def _create_pretrained(name: str, weights: str | None, num_classes: int) -> tuple[nn.Module, str]:
    overlay = None
    if weights is not None:
        if not Path(weights).is_file():
            raise UsageError(f"model.weights does not exist: {weights}")
        overlay, origin = {"file": weights}, Path(weights).name
    else:
        settings = timm.get_pretrained_cfg(name)
        if settings is None or not (settings.hf_hub_id or settings.url):
            raise UsageError("timm publishes none")
        if not _in_cache(settings.hf_hub_id) and not _hub_answers():
            raise UsageError("no copy on this machine, and the hub cannot be reached")
        origin = settings.architecture or name
    try:
        model = timm.create_model(name, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm, the hub client and urllib raise many kinds; each means: no weights
        raise UsageError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return model, f"imagenet ({origin})"


def _in_cache(hub_id: str | None) -> bool:
    """Whether the hub client has kept this model's weights from an earlier download."""
    if not hub_id:
        return False
    from huggingface_hub import try_to_load_from_cache

    return any(
        isinstance(try_to_load_from_cache(hub_id, file), str) for file in ("model.safetensors", "pytorch_model.bin")
    )


def _hub_answers() -> bool:
    """Whether a connection to the hub opens at once; asked first, since the hub's own client retries for minutes."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HF_ENDPOINT")):
        return True
    with contextlib.suppress(OSError), socket.create_connection(HUB, timeout=HUB_TIMEOUT_S):
        return True
    return False
