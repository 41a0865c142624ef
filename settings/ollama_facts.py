"""What Ollama knows by name: parameters of a model, instructions of a Modelfile, variables of its server.

Read from its source, v0.32.15 and v0.33.0-rc2: api/types.go, parser/parser.go, envconfig/config.go.
"""

from __future__ import annotations

from typing import Literal

ParameterKind = Literal["int", "float", "bool", "texts"]

PARAMETERS: dict[str, ParameterKind] = {
    "num_keep": "int",
    "seed": "int",
    "num_predict": "int",
    "top_k": "int",
    "top_p": "float",
    "min_p": "float",
    "typical_p": "float",
    "repeat_last_n": "int",
    "temperature": "float",
    "repeat_penalty": "float",
    "presence_penalty": "float",
    "frequency_penalty": "float",
    "stop": "texts",
    "num_ctx": "int",
    "num_batch": "int",
    "num_gpu": "int",
    "main_gpu": "int",
    "use_mmap": "bool",
    "num_thread": "int",
    "draft_num_predict": "int",
}
"""What PARAMETER takes, by name; `texts` may come several times."""

DROPPED_PARAMETERS = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)
"""Parameters of older releases: Ollama warns, and leaves them out."""

_THINK = "thinking is a request's own matter: send think: true or false with it"
REFUSED_PARAMETERS = {
    "tfs_z": "it is gone since 0.5.2; use min_p",
    "numa": "it is gone; the operating system places memory",
    "num_gqa": "it is gone; the model's file says it",
    "rope_frequency_base": "it is gone; the model's file says it",
    "rope_frequency_scale": "it is gone; the model's file says it",
    "num_thread_batch": "it is gone; use num_thread",
    "max_tokens": "Ollama calls it num_predict",
    "context_length": "Ollama calls it num_ctx",
    "think": _THINK,
    "no_think": _THINK,
}
"""Parameters that were there once, or that people look for, and what to do instead."""

INSTRUCTIONS = (
    "from",
    "parameter",
    "template",
    "system",
    "adapter",
    "draft",
    "license",
    "message",
    "renderer",
    "parser",
    "requires",
)
"""First words of a Modelfile's lines; their case makes no difference."""

ROLES = ("system", "user", "assistant")
"""Who may speak in a MESSAGE."""

SERIAL_ARCHITECTURES = frozenset(
    {
        "mllama",
        "qwen3vl",
        "qwen3vlmoe",
        "qwen35",
        "qwen35moe",
        "qwen3next",
        "lfm2",
        "lfm2moe",
        "nemotron_h",
        "nemotron_h_moe",
        "nemotron_h_omni",
    }
)
"""What general.architecture of a file says where Ollama answers one request at a time, whatever numParallel says
(server/sched.go, load)."""

VARIABLES_BY_SETTING = {
    "OLLAMA_KEEP_ALIVE": "keepAliveSeconds",
    "OLLAMA_LOAD_TIMEOUT": "loadTimeoutSeconds",
    "OLLAMA_CONTEXT_LENGTH": "contextLength",
    "OLLAMA_NUM_PARALLEL": "numParallel",
    "OLLAMA_MAX_LOADED_MODELS": "maxLoadedModels",
    "OLLAMA_MAX_QUEUE": "maxQueue",
    "OLLAMA_FLASH_ATTENTION": "flashAttention",
    "OLLAMA_KV_CACHE_TYPE": "kvCacheType",
    "OLLAMA_DEBUG": "debug",
    "OLLAMA_ORIGINS": "origins",
    "LLAMA_ARG_CACHE_RAM": "promptCacheMiB",
}
"""Variables that have a setting of their own, with what is counted on."""

PLANNED_VARIABLES = frozenset(
    {
        "OLLAMA_HOST",
        "OLLAMA_MODELS",
        "OLLAMA_NOPRUNE",
        "LLAMA_ARG_CTX_CHECKPOINTS",
        "HOME",
        "LD_LIBRARY_PATH",
        "NVIDIA_VISIBLE_DEVICES",
    }
)
"""Variables that follow from the plan, or that Kubernetes sets to the GPUs of the pod."""

VARIABLES = frozenset(
    {
        "OLLAMA_MAX_TRANSFER_STREAMS",
        "OLLAMA_SCHED_SPREAD",
        "OLLAMA_LLM_LIBRARY",
        "OLLAMA_VULKAN",
        "OLLAMA_IGPU_ENABLE",
        "OLLAMA_GO_TEMPLATE",
        "OLLAMA_DEBUG_LOG_REQUESTS",
        "OLLAMA_NOHISTORY",
        "OLLAMA_EDITOR",
        "OLLAMA_REMOTES",
        "OLLAMA_NO_CLOUD",
        "OLLAMA_AUTH",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "https_proxy",
        "http_proxy",
        "no_proxy",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "GGML_VK_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "HSA_OVERRIDE_GFX_VERSION",
    }
)
"""Variables that Ollama reads and that are nobody's setting."""

LLAMA_SERVER_VARIABLES = frozenset(
    {
        "LLAMA_ARG_CACHE_IDLE_SLOTS",
        "LLAMA_ARG_CACHE_PROMPT",
        "LLAMA_ARG_CACHE_REUSE",
        "LLAMA_ARG_CHECKPOINT_MIN_SPACING_NT",
        "LLAMA_ARG_CONT_BATCHING",
        "LLAMA_ARG_IMAGE_MAX_TOKENS",
        "LLAMA_ARG_IMAGE_MIN_TOKENS",
        "LLAMA_ARG_NUMA",
        "LLAMA_ARG_PERF",
        "LLAMA_ARG_THREADS_HTTP",
        "LLAMA_ARG_TIMEOUT",
    }
)
"""Variables of the llama-server of each model, which has the environment of Ollama: those that neither change what the
plan counts with nor come between the two."""

OTHER_VARIABLES = frozenset(
    {
        "CUDA_CACHE_DISABLE",
        "CUDA_CACHE_MAXSIZE",
        "CUDA_CACHE_PATH",
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "CUDA_DEVICE_ORDER",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_MODULE_LOADING",
        "GODEBUG",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "GOTRACEBACK",
        "NVIDIA_DISABLE_REQUIRE",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_TF32_OVERRIDE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TZ",
    }
)
"""Variables of what Ollama is made of."""

LIBRARY_VARIABLES = ("GGML_", "NCCL_")
"""How further variables begin that are read by what Ollama is made of; none of these libraries lists its own."""

REFUSED_VARIABLES = {
    # Read by the runner of MLX, a line of the log and the default of the context alone (sched.go, routes.go).
    "CUDA_VISIBLE_DEVICES": "says which GPUs are the pod's, as Kubernetes does",
    "GGML_CUDA_ENABLE_UNIFIED_MEMORY": "lets models flow over to host memory, which the plan counts layer by layer",
    "OLLAMA_GPU_OVERHEAD": "keeps no GGUF model out of memory: llama-server goes by what is free of the GPU",
}
"""Variables that do not do what they are taken for, and why."""

_NUM_GPU = "it is a model's parameter: modelfiles.<name>.parameters.num_gpu"
GONE_VARIABLES = {
    "OLLAMA_TMPDIR": "it is gone since 0.5.2; nothing is unpacked any more",
    "OLLAMA_RUNNERS_DIR": "it is gone since 0.3.11; nothing is unpacked any more",
    "OLLAMA_MAX_VRAM": "it does nothing; write gpuShare",
    "OLLAMA_INTEL_GPU": "it is gone since 0.12.11; OLLAMA_VULKAN took its place",
    "OLLAMA_NEW_ENGINE": "it is gone since 0.30.0",
    "OLLAMA_MULTIUSER_CACHE": "it is gone since 0.30.0",
    "OLLAMA_NUM_GPU_LAYERS": _NUM_GPU,
    "OLLAMA_NUM_GPU": _NUM_GPU,
    "OLLAMA_GPU_LAYERS": _NUM_GPU,
    "OLLAMA_NUM_THREADS": "it is a model's parameter: modelfiles.<name>.parameters.num_thread",
    "OLLAMA_PORT": "the port is the plan's",
    "OLLAMA_REGISTRY_URL": "a registry is a part of the model's name: registry.example.com/library/qwen3:4b",
}
"""Variables of older releases, and those that were never there, with what to do instead."""
