"""Twenty steps of PyTorch's optimizers, with parameter groups; what ours must do as well.

`python -m tests.support.torch_steps` writes their figures to `tests/golden/optimizers.json`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FIGURES = Path(__file__).parents[1] / "golden" / "optimizers.json"
STEPS = 20
OPTIMIZERS = {
    "sgd": {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1},
    "nesterov": {"learning_rate": 0.05, "momentum": 0.8, "weight_decay": 0.1, "nesterov": True},
    "adam": {"learning_rate": 0.05, "weight_decay": 0.1},
    "adamw": {"learning_rate": 0.05, "weight_decay": 0.1},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "slow backbone": {"backbone": 0.1},
    "clipped": {"clip_norm": 0.5},
    "accumulated": {"accumulation": 3},
    "averaged": {"ema": 0.7},
    "all": {"backbone": 0.1, "clip_norm": 0.5, "accumulation": 3, "ema": 0.7},
}
# Path: shape, and the scale of the gradient. The smallest is of the order of Adam's epsilon.
VARIABLES = {
    "stem/kernel": ((2, 3), 1.0),
    "stem/bias": ((3,), 1.0),
    "classifier/kernel": ((3, 2), 1.0),
    "classifier/bias": ((2,), 1e-7),
    "classifier/gamma": ((), 1.0),
}
DECAYING = ("stem/kernel", "classifier/kernel", "classifier/gamma")


def initial() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        path: np.asarray(rng.standard_normal(shape), "float32")
        for path, (shape, _) in VARIABLES.items()
    }


def rate(optimizer: str, step: int) -> float:
    """The polynomial decay of the reference."""
    return OPTIMIZERS[optimizer]["learning_rate"] * (1 - step / STEPS) ** 0.9


def gradient(path: str, step: int, value: np.ndarray) -> np.ndarray:
    """The gradient of a step depends on the variable, so that errors add up."""
    scale = VARIABLES[path][1]
    rng = np.random.default_rng([step, list(VARIABLES).index(path)])
    slope, offset = rng.standard_normal((2, *value.shape))
    return np.asarray(scale * (abs(slope) * value + 2 * offset), "float32")


def torch_steps(optimizer: str, variant: str) -> Iterator[dict[str, list[float]]]:
    """Yields the variables and their averages (for "averaged" and "all") after all steps."""
    import torch

    options, given = OPTIMIZERS[optimizer], VARIANTS[variant]
    parameters = {
        path: torch.nn.Parameter(torch.tensor(value)) for path, value in initial().items()
    }
    groups = [
        {
            "params": [parameter],
            "weight_decay": options["weight_decay"] if path in DECAYING else 0.0,
            "factor": given.get("backbone", 1.0) if path.startswith("stem") else 1.0,
        }
        for path, parameter in parameters.items()
    ]
    name = {"sgd": "SGD", "nesterov": "SGD", "adam": "Adam", "adamw": "AdamW"}[optimizer]
    own = {key: value for key, value in options.items() if key in ("momentum", "nesterov")}
    steps = getattr(torch.optim, name)(groups, lr=1.0, **own)
    module = torch.nn.ParameterList(parameters.values())
    averaged = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(given.get("ema", 0.5))
    )
    count = given.get("accumulation", 1)
    for step in range(STEPS):
        for path, parameter in parameters.items():
            found = torch.tensor(gradient(path, step, parameter.detach().numpy())) / count
            parameter.grad = found if parameter.grad is None else parameter.grad + found
        if (step + 1) % count:
            continue
        if "clip_norm" in given:
            torch.nn.utils.clip_grad_norm_(parameters.values(), given["clip_norm"])
        for group in steps.param_groups:
            group["lr"] = rate(optimizer, step) * group["factor"]
        steps.step()
        steps.zero_grad()
        averaged.update_parameters(module)
    for found in (module, averaged.module) if "ema" in given else (module,):
        yield {
            path: value.detach().flatten().tolist()
            for path, value in zip(VARIABLES, found, strict=True)
        }


def main() -> None:
    figures = {
        f"{optimizer}, {variant}": list(torch_steps(optimizer, variant))
        for optimizer in OPTIMIZERS
        for variant in VARIANTS
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
