"""timm backbones with pretrained weights, or with random weights and a warning if there are none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from models.blocks.packaged_weights import PACKAGE, packaged_state
from utils.errors import UsageError
from utils.hub import hub_is_reachable

log = logging.getLogger(__name__)


def create_backbone(
    name: str,
    *,
    pretrained: bool | Literal["auto"],
    weights: str | None = None,
    num_classes: int = 0,
    image_size_px: int | None = None,
) -> tuple[nn.Module, str]:
    """Create a timm model.

    Args:
        name: any timm architecture.
        pretrained: `False` starts with random weights. If no pretrained weights are available, `"auto"` also starts with random
            weights and logs a warning, and `True` fails.
        weights: a local weight file in timm's format, or `package` for weights from a Python package (`packaged_weights`);
            ignored if `pretrained` is false.
        num_classes: number of outputs of the head; 0 returns pooled features, see `feature_size`.
        image_size_px: side of the input images, for architectures with a fixed input size (transformers).

    Returns:
        The module and the origin of its weights: `random` or `imagenet (<source>)`.

    Raises:
        UsageError: the architecture is unknown, or required weights are not available.
    """
    import timm  # imported here because it takes seconds, and scoring with the shipped detector does not need it

    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        raise UsageError(f"timm has no model {name!r}" + (f"; similar ones: {', '.join(near)}" if near else ""))
    settings = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": num_classes}
    if image_size_px is not None and settings is not None and settings.fixed_input_size:
        options["img_size"] = image_size_px
    if pretrained is not False:
        try:
            return _create_pretrained(name, weights, options)
        except UsageError as error:
            if pretrained is True:
                raise
            log.warning("no pretrained weights for %s (%s); starting with random weights", name, error)
    return timm.create_model(name, pretrained=False, **options), "random"


def feature_size(backbone: nn.Module) -> int:
    """Return the size of a timm model's pooled features, including a layer after the pooling if there is one."""
    return cast(int, getattr(backbone, "head_hidden_size", None) or backbone.num_features)


def _create_pretrained(name: str, weights: str | None, options: dict[str, Any]) -> tuple[nn.Module, str]:
    import timm

    overlay = None
    if weights == PACKAGE:
        return _create_from_package(name, options), f"imagenet ({PACKAGE})"
    if weights is not None:
        if not Path(weights).is_file():
            raise UsageError(f"model.weights does not exist: {weights}")
        overlay, origin = {"file": weights}, Path(weights).name
    else:
        settings = timm.get_pretrained_cfg(name)
        if settings is None or not (settings.hf_hub_id or settings.url):
            raise UsageError("timm does not publish any")
        if not _in_cache(settings.hf_hub_id) and not hub_is_reachable():
            raise UsageError("they are not cached locally, and the hub cannot be reached")
        origin = settings.architecture or name
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except (
        Exception
    ) as error:  # timm, the hub client and urllib raise many kinds of errors; all mean that weights are unavailable
        raise UsageError(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return model, f"imagenet ({origin})"


def _create_from_package(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    model = timm.create_model(name, pretrained=False, **options)
    own = model.state_dict()
    state = {key: value for key, value in packaged_state(name).items() if key in own and own[key].shape == value.shape}
    # The package's head has the ImageNet classes. A head of another size keeps its random weights.
    model.load_state_dict(state, strict=False)
    return model


def _in_cache(hub_id: str | None) -> bool:
    """Return whether the hub client has this model's weights from an earlier download."""
    if not hub_id:
        return False
    from huggingface_hub import try_to_load_from_cache

    return any(
        isinstance(try_to_load_from_cache(hub_id, file), str) for file in ("model.safetensors", "pytorch_model.bin")
    )
