"""What all optimisers share: groups of parameters with settings, and a state for each parameter."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from minigrad.kinds import check_kind, several
from minigrad.memory import may_overlap
from minigrad.modes import enable_grad
from minigrad.tensor import Tensor

State: TypeAlias = dict[str, Any]
Params: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]]


class Optimizer:
    """The base of optimisers: subclasses give the defaults of their settings and define `update` for one parameter.

    `params` are tensors, or groups: dicts with `params` and settings that differ from the defaults.
    Raises: ValueError for no parameters, one that comes twice, settings out of range; TypeError for what is no tensor.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]):
        self.defaults = defaults
        self.state: dict[Tensor, State] = {}
        self.param_groups: list[dict[str, Any]] = []
        if isinstance(params, (Tensor, Mapping)):
            raise TypeError(f"{self._name}: need a list of tensors or of groups, got one {type(params).__name__}")
        given = list(params)
        if not given:
            raise ValueError(f"{self._name}: got no parameters")
        groups: list[Any] = given if isinstance(given[0], dict) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimise further parameters: a dict with `params` and settings that differ from the defaults."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{self._name}: need a group as a dict with 'params', got {param_group!r}")
        params = param_group["params"]
        group = {"params": [params] if isinstance(params, Tensor) else list(params)}
        group |= self.defaults | {key: value for key, value in param_group.items() if key != "params"}
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: need tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(
                    f"{self._name}: can optimise leaf tensors only, not what an op made; got shape {p.shape}"
                )
            if may_overlap(p._array):
                raise ValueError(f"{self._name}: several values of a parameter of shape {p.shape} lie in one place")
            if id(p) in known:
                raise ValueError(f"{self._name}: a parameter of shape {p.shape} comes twice")
            known.add(id(p))
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for settings out of range."""
        for setting in ("lr", "momentum", "weight_decay", "eps", "alpha", "dampening"):
            check_kind(self._name, setting, float, group.get(setting, 0.0))
        for setting in ("nesterov", "centered", "amsgrad", "maximize"):
            check_kind(self._name, setting, bool, group.get(setting, False))
        for setting in ("lr", "momentum", "weight_decay", "eps", "alpha"):
            if not group.get(setting, 0.0) >= 0.0:
                raise ValueError(f"{self._name}: need {setting} >= 0, got {group[setting]}")
        if not group.get("alpha", 0.0) < 1.0:
            raise ValueError(f"{self._name}: need alpha < 1, got {group['alpha']}")
        if "betas" in group:
            betas = several(self._name, "betas", group["betas"])
            for beta in betas:
                check_kind(self._name, "betas", float, beta)
            if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
                raise ValueError(f"{self._name}: need two betas in [0, 1), got {group['betas']}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the parameters' gradients away, or replace them by zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                gradient = p._grad
                if set_to_none or gradient is None:
                    p._grad = None
                elif gradient._node is None and gradient._array.flags.writeable:
                    gradient._array.fill(0)
                    gradient._storage.version += 1
                else:  # others need its values
                    p._grad = Tensor.wrap(np.zeros(p.shape, p.dtype))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; with `closure`, which computes the loss anew, return the loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params, gradients = [], []
            for p in group["params"]:
                gradient = p._grad
                if gradient is not None:
                    array = p._array
                    if not array.flags.writeable or array.dtype.kind != "f":
                        self._refuse(array)
                    params.append(p)
                    gradients.append(gradient._array)
            if params:
                self.update_all(params, gradients, group)
        return loss

    def _refuse(self, p: np.ndarray) -> None:
        if not p.flags.writeable:
            raise ValueError(f"{self._name}: output array is read-only: that of a parameter of shape {p.shape}")
        raise TypeError(f"{self._name}: need parameters of float32 or float64, got {p.dtype}")

    def update_all(self, params: list[Tensor], gs: list[np.ndarray], group: dict[str, Any]) -> None:
        """Change parameters of a group by their gradients: by `update`, one after the other."""
        for p, g in zip(params, gs, strict=True):
            p._storage.version += 1
            self.update(p._array, -g if group.get("maximize") else g, self.state.setdefault(p, {}), group)

    def update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        """Change the array `p` in place, by its gradient `g`, which stays as it is."""
        raise NotImplementedError(f"{self._name}: define update(self, p, g, state, group)")

    def state_dict(self) -> dict[str, Any]:
        """`{"state": {i: {name: array}}, "param_groups": [{..., "params": [i, ...]}]}`: parameters by number.

        The arrays share the optimiser's memory: save them, or copy them, before the next step.
        """
        numbers = {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        return {
            "state": {
                numbers[p]: {k: np.asarray(v) for k, v in state.items()} for p, state in self.state.items() if state
            },
            "param_groups": [group | {"params": [numbers[p] for p in group["params"]]} for group in self.param_groups],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from the state of an optimiser with the same groups; arrays or tensors are copied.

        Raises: ValueError if the groups or a state's shapes differ; then nothing has changed.
        """
        if not isinstance(state_dict, Mapping) or not {"param_groups", "state"} <= state_dict.keys():
            raise ValueError(f"{self._name}.load_state_dict: need a mapping with 'param_groups' and 'state'")
        groups = state_dict["param_groups"]
        sizes, own = [len(g["params"]) for g in groups], [len(g["params"]) for g in self.param_groups]
        if sizes != own:
            raise ValueError(f"{self._name}.load_state_dict: need groups of {own} parameters, got {sizes}")
        numbers = [number for group in groups for number in group["params"]]
        params = dict(zip(map(int, numbers), (p for group in self.param_groups for p in group["params"]), strict=True))
        state = {params[int(i)]: self._restored(params[int(i)], values) for i, values in state_dict["state"].items()}
        for group, saved in zip(self.param_groups, groups, strict=True):
            settings = {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
            group.update(settings | {"params": group["params"]})
        self.state = state

    def _restored(self, p: Tensor, values: Mapping[str, Any]) -> State:
        """One parameter's state: numbers as they are, arrays in its dtype."""
        state: State = {}
        for name, value in values.items():
            array = np.asarray(value)
            if name == "step":
                state[name] = int(array)
            elif array.shape != p.shape:
                raise ValueError(f"{self._name}.load_state_dict: need {name} of shape {p.shape}, got {array.shape}")
            else:
                state[name] = np.array(array, p.dtype, order="C")
        return state

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            settings = (f"    {key}: {value}" for key, value in sorted(group.items()) if key != "params")
            lines += [f"Parameter Group {i}", *settings]
        return "\n".join([*lines, ")"])
