"""llama-server's flags that `extraArgs` may not set, and what is written or done instead."""

from __future__ import annotations

_TYPED = {
    "--model": "model",
    "--hf-repo": "model",
    "--hf-file": "file",
    "--alias": "the name of the server",
    "--ctx-size": "contextLength",
    "--parallel": "parallel",
    "--gpu-layers": "gpuLayers",
    "--cache-type-k": "cacheTypeK",
    "--cache-type-v": "cacheTypeV",
    "--flash-attn": "flashAttention",
    "--batch-size": "batchSize",
    "--ubatch-size": "ubatchSize",
    "--embedding": "embeddings",
    "--pooling": "pooling",
    "--jinja": "jinja",
    "--chat-template": "chatTemplate",
    "--split-mode": "splitMode",
    "--tensor-split": "tensorSplit",
    "--load-mode": "loadMode",
    "--mmap": "loadMode",
    "--direct-io": "loadMode",
    "--threads": "threads",
    "--cache-ram": "promptCacheMiB",
    "--ctx-checkpoints": "promptCacheMiB",
}
SETTINGS = {flag: f"Write {setting} instead." for flag, setting in _TYPED.items()}
"""What is written in the place of a flag that a setting stands for, by the flag's first name."""

_EDGE = "is the edge's, which is the only way in: the engine sees neither keys nor certificates. Take it out."
_PLANNED = "is the plan's: probes, routes and metrics count on it. Take it out."
REFUSED = {
    **dict.fromkeys(("--api-key", "--api-key-file", "--ssl-key-file", "--ssl-cert-file"), _EDGE),
    **dict.fromkeys(("--host", "--port", "--api-prefix", "--metrics", "--slots", "--reuse-port"), _PLANNED),
    **dict.fromkeys(
        ("--tools", "--tools-runtime", "--mcp-servers-config", "--mcp-servers-json", "--agent", "--ui-mcp-proxy"),
        "lets whoever may ask the model run commands and read files in its pod. Take it out.",
    ),
    **dict.fromkeys(
        (
            "--model-url",
            "--docker-repo",
            "--models-dir",
            "--models-preset",
            "--models-max",
            "--models-autoload",
            # Each is a model of its own with its settings.
            "--embd-gemma-default",
            "--fim-qwen-1.5b-default",
            "--fim-qwen-3b-default",
            "--fim-qwen-7b-default",
            "--fim-qwen-7b-spec",
            "--fim-qwen-14b-spec",
            "--fim-qwen-30b-default",
            "--gpt-oss-20b-default",
            "--gpt-oss-120b-default",
            "--vision-gemma-4b-default",
            "--vision-gemma-12b-default",
        ),
        "would serve other models than the one that is planned. Write model, and a server for each further one.",
    ),
    "--hf-token": "would stand in the file as plain text. Run: pulumi config set --secret huggingFaceToken.",
    "--mlock": "locks memory, which a pod without privileges may not. Take it out.",
    "--fit": "would let llama-server load less than is planned. Take it out.",
}
"""Why nobody may set a flag, by its first name."""
