"""How weights are stored, and how many bits one takes."""

from __future__ import annotations

from enum import StrEnum


class Quantization(StrEnum):
    """Names as vLLM and llama.cpp write them; GGUF types in their own capitals."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    INT8 = "w8a8"
    GPTQ_INT8 = "gptq-int8"
    AWQ = "awq"
    GPTQ = "gptq"
    BNB_NF4 = "bnb-nf4"
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"
    F16 = "F16"
    Q8_0 = "Q8_0"
    Q6_K = "Q6_K"
    Q5_K_M = "Q5_K_M"
    Q5_K_S = "Q5_K_S"
    Q5_0 = "Q5_0"
    Q4_K_M = "Q4_K_M"
    Q4_K = "Q4_K"
    Q4_K_S = "Q4_K_S"
    Q4_0 = "Q4_0"
    IQ4_XS = "IQ4_XS"
    Q3_K_L = "Q3_K_L"
    Q3_K_M = "Q3_K_M"
    Q3_K_S = "Q3_K_S"
    Q2_K = "Q2_K"

    @property
    def is_gguf(self) -> bool:
        """Whether it is a type of GGUF files, which Ollama and llama.cpp read."""
        return self.value[0].isupper()

    @property
    def is_sixteen_bits(self) -> bool:
        """Whether weights are as they were trained, so that an engine may quantize them when it loads them."""
        return self in (Quantization.BF16, Quantization.FP16, Quantization.F16)

    @property
    def bits_per_weight(self) -> float:
        """Bits of a quantized weight, with its share of scales; of a GGUF file on average over all weights.

        GGUF: llama.cpp, tools/quantize/README.md, Llama-3.1-8B (Q5_0 and Q4_0 by their blocks: 22 and 18 bytes for 32
        weights; Q4_K has no mixture in it, but for the output layer). AWQ, GPTQ: 4 bits, with a 16-bit scale and a
        4-bit zero point for 128 weights. NF4 with double
        quantization: 4.127 (QLoRA, arXiv 2305.14314). MXFP4: an 8-bit scale for 32; NVFP4: one for 16.
        """
        return _BITS_PER_WEIGHT[self]

    @property
    def keeps_embeddings(self) -> bool:
        """Whether embedding and output layer stay in 16 bits, as in checkpoints for vLLM."""
        return not self.is_gguf and self is not Quantization.FP32


_BITS_PER_WEIGHT = {
    Quantization.FP32: 32.0,
    Quantization.BF16: 16.0,
    Quantization.FP16: 16.0,
    Quantization.FP8: 8.0,
    Quantization.INT8: 8.0,
    Quantization.GPTQ_INT8: 8 + 24 / 128,
    Quantization.AWQ: 4 + 20 / 128,
    Quantization.GPTQ: 4 + 20 / 128,
    Quantization.BNB_NF4: 4.127,
    Quantization.MXFP4: 4 + 8 / 32,
    Quantization.NVFP4: 4 + 8 / 16,
    Quantization.F16: 16.0005,
    Quantization.Q8_0: 8.5008,
    Quantization.Q6_K: 6.5633,
    Quantization.Q5_K_M: 5.7036,
    Quantization.Q5_K_S: 5.5704,
    Quantization.Q5_0: 5.5,
    Quantization.Q4_K_M: 4.8944,
    Quantization.Q4_K_S: 4.6672,
    Quantization.Q4_K: 4.5,
    Quantization.Q4_0: 4.5,
    Quantization.IQ4_XS: 4.4597,
    Quantization.Q3_K_L: 4.2979,
    Quantization.Q3_K_M: 3.9960,
    Quantization.Q3_K_S: 3.6429,
    Quantization.Q2_K: 3.1593,
}
