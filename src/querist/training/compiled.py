"""A module compiled by `torch.compile`, where that is asked for."""

from __future__ import annotations

import torch

from querist.errors import LearnerError


def compile_in_place(module: torch.nn.Module, device: torch.device) -> None:
    """Have torch compile the module's forward at its next call; its weights stay where they are.

    Raises:
        LearnerError: the CPU's compiler is not there.
    """
    if module._compiled_call_impl is not None:
        return
    if device.type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:
            raise LearnerError(
                "training.compile needs a C++ compiler on the CPU, and there is none: install g++, "
                "or set it to false"
            ) from error
    module.compile()
