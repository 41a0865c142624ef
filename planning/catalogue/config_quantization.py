"""How a checkpoint's weights are stored, from its config.json. No I/O."""

from __future__ import annotations

from planning.catalogue.config_json import Config, ConfigError, first_stated
from settings.quantization import Quantization


def quantization_of_config(config: Config) -> Quantization:
    """How the checkpoint's weights are stored, by `quantization_config` and `torch_dtype`.

    Raises:
        ConfigError: a method that is not known here.
    """
    found = config.get("quantization_config") or (config.get("text_config") or {}).get("quantization_config")
    if not found:
        dtype = str(
            first_stated(config, "dtype", "torch_dtype") or first_stated(config.get("text_config") or {}, "dtype") or ""
        )
        return {"float32": Quantization.FP32, "float16": Quantization.FP16}.get(dtype, Quantization.BF16)
    # ModelOpt's older configurations do not name their method.
    default = "modelopt" if "quant_algo" in found else ""
    method, bits = str(found.get("quant_method") or default).lower(), found.get("bits", 4)
    if method == "compressed-tensors":
        return _compressed(found)
    by_method = {
        "awq": Quantization.AWQ,
        "gptq": Quantization.GPTQ_INT8 if bits == 8 else Quantization.GPTQ,
        "fp8": Quantization.FP8,
        "fbgemm_fp8": Quantization.FP8,
        "mxfp4": Quantization.MXFP4,
        "bitsandbytes": Quantization.INT8 if found.get("load_in_8bit") else Quantization.BNB_NF4,
        "modelopt": {"FP8": Quantization.FP8, "NVFP4": Quantization.NVFP4}.get(str(found.get("quant_algo")).upper()),
    }
    if (known := by_method.get(method)) is None:
        said = f"{method} {found.get('quant_algo')}" if method == "modelopt" else method
        raise ConfigError(
            f"quantization_config: {said!r} is not known here, so the size of a weight is not. Known: "
            f"{', '.join(by_method)} (FP8, NVFP4), compressed-tensors."
        )
    return known


def _compressed(found: Config) -> Quantization:
    """What llm-compressor wrote: bits and type of the weights of its first group."""
    groups = list((found.get("config_groups") or {}).values())
    weights = (groups[0].get("weights") or {}) if groups else {}
    kinds = {
        ("float", 8): Quantization.FP8,
        ("int", 8): Quantization.INT8,
        ("int", 4): Quantization.GPTQ,
        ("float", 4): Quantization.NVFP4,
    }
    kind = (str(weights.get("type")), weights.get("num_bits"))
    if kind not in kinds:
        raise ConfigError(f"quantization_config.config_groups: weights of {kind[1]} bits ({kind[0]}) are not known.")
    return kinds[kind]
