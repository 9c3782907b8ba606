"""What a layer says of itself: its options in force, and with what its weights were trained."""

from typing import Any

from anglos.call.loss import Loss
from anglos.training.heads import in_force, settings_of, spelled, warn_of_others

from ._head_tensors import HeadTensors, Notified


class HeadSettings(Notified):
    """A layer of a loss with options, some of which are tensors."""

    loss: Loss[...]
    options: dict[str, Any]
    tensors: HeadTensors

    @property
    def all_options(self) -> dict[str, Any]:
        """Every option of the loss as the next call uses it: from `options`, from `tensors`, or else its default."""
        return in_force(self.loss, self._own_options())

    @property
    def settings(self) -> dict[str, Any]:
        """The loss and its options that are no tensors, as `state_dict` has them, for whoever saves tensors alone."""
        return settings_of(self.loss, self._own_options())

    def extra_repr(self) -> str:
        shape: Any = getattr(self, "weight").shape  # noqa: B009 (a parameter, or what a tool computes)
        return spelled(self.loss, shape, self.options, self._own_options().keys() - self.options.keys())

    def _own_options(self) -> dict[str, Any]:
        tensors: Any = getattr(self.tensors, "items", dict)  # not of what a tool puts around them
        return {**dict(tensors()), **self.options}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """What it was trained with goes where PyTorch keeps versions: no key more, of which other tools would know."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        about = getattr(destination, "_metadata", {}).get(prefix[:-1])
        if about is not None:
            about["anglos"] = self.settings

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        """What is known of it comes first, if any of it is there: a part may have been taken out."""
        saved = others[0].get("anglos")
        if saved is not None and any(name.startswith(prefix) for name in state_dict):
            warn_of_others(self.loss, self._own_options(), saved)
        super()._load_from_state_dict(state_dict, prefix, *others)
