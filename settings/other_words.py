"""What a model's settings are called by other engines and by other tools, so that a name from there is understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from settings.problems import plain

ENGINE_NAMES: Mapping[str, str] = {"vllm": "vLLM", "ollama": "Ollama", "llamacpp": "llama.cpp", "tgi": "TGI"}
"""What `engine` may be, and what people call it."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing that an engine can be told."""

    ours: Mapping[str, str] = field(default_factory=dict)
    """What to write, by engine; an engine that is not here has no such setting."""

    words: str
    """What others call it, one after the other; neither case nor separators make a difference."""

    without: str = "take it out"
    """What to do where the engine has no such setting."""


def _all(setting: str) -> dict[str, str]:
    return dict.fromkeys(ENGINE_NAMES, setting)


CONCEPTS: tuple[Concept, ...] = (
    Concept(
        ours={
            "vllm": "maxModelLen",
            "ollama": "contextLength",
            "llamacpp": "contextLength",
            "tgi": "maxTotalTokens",
        },
        words="num_ctx n_ctx c ctx ctx_size ctx_len context context_size context_len context_window context_tokens "
        "max_context max_context_length max_seq_len max_sequence_length max_length seq_len OLLAMA_CONTEXT_LENGTH",
    ),
    Concept(
        ours={
            "vllm": "maxNumSeqs",
            "ollama": "numParallel",
            "llamacpp": "parallel",
            "tgi": "maxConcurrentRequests",
        },
        words="np n_parallel concurrency max_concurrency max_concurrent max_parallel max_batch_size slots "
        "max_running_requests OLLAMA_NUM_PARALLEL",
    ),
    Concept(
        ours={"vllm": "maxNumBatchedTokens", "llamacpp": "batchSize", "tgi": "maxBatchPrefillTokens"},
        words="b n_batch num_batch max_batch_total_tokens chunked_prefill_size",
    ),
    Concept(
        ours=_all("gpus"),
        words="tp tp_size tensor_parallel tensor_parallel_size num_gpus n_gpus gpu_count num_shard sharded "
        "data_parallel_size",
    ),
    Concept(
        ours=_all("gpus: how many; which ones is Kubernetes' choice"),
        words="gpu_id gpu_ids device devices device_ids main_gpu CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES",
    ),
    Concept(ours={"vllm": "pipelineParallel"}, words="pp pp_size pipeline_parallel_size"),
    Concept(
        ours={"llamacpp": "gpuLayers"},
        words="ngl n_gpu_layers num_gpu num_gpu_layers",
        without="all layers are on GPUs where they fit, so take it out",
    ),
    Concept(
        ours={"vllm": "model", "ollama": "pull: [<model>]", "llamacpp": "model", "tgi": "model"},
        words="m models model_id model_name model_path model_tag repo repo_id hf hf_repo hf_model checkpoint "
        "OLLAMA_MODEL",
    ),
    Concept(
        words="served_model_name served_name model_alias alias",
        without="clients write the server's own name, so call the server in models that",
    ),
    Concept(
        ours={
            "vllm": "kvCacheDtype",
            "ollama": "kvCacheType",
            "llamacpp": "cacheTypeK and cacheTypeV",
            "tgi": "kvCacheDtype",
        },
        words="kv_cache kv_type cache_type cache_dtype ctk ctv kv_quant OLLAMA_KV_CACHE_TYPE",
    ),
    Concept(
        ours={
            "vllm": "gpuMemoryUtilization",
            "tgi": "cudaMemoryFraction",
            "ollama": "gpuShare",
            "llamacpp": "gpuShare",
        },
        words="gpu_memory gpu_mem gpu_util gpu_utilization mem_fraction memory_fraction gpu_memory_fraction "
        "mem_fraction_static",
    ),
    Concept(
        ours={"vllm": "shm", "tgi": "shm"},
        words="shm_size dshm ipc shared_memory",
        without="the engine needs no room in /dev/shm, so take it out",
    ),
    Concept(
        ours={"ollama": "keepAliveSeconds"},
        words="keep_alive OLLAMA_KEEP_ALIVE ttl",
        without="a model stays loaded as long as its pod runs, so take it out",
    ),
    Concept(ours={"ollama": "maxLoadedModels"}, words="OLLAMA_MAX_LOADED_MODELS models_max"),
    Concept(
        ours={"vllm": "maxNumQueuedReqs", "ollama": "maxQueue", "tgi": "maxConcurrentRequests"},
        words="queue queue_size OLLAMA_MAX_QUEUE max_queued_requests",
    ),
    Concept(
        ours={"vllm": "extraEnvironment", "ollama": "extraEnvironment"},
        words="env envs environment env_vars extra_env env_file",
    ),
    Concept(
        ours={
            "vllm": "extraArgs: {<flag>: <value>}",
            "llamacpp": "extraArgs: {<flag>: <value>}",
            "tgi": "extraArgs: {<flag>: <value>}",
            "ollama": "extraEnvironment: {<VARIABLE>: <value>}",
        },
        words="args arg command cmd entrypoint flags extra_flags engine_args server_args vllm_args",
    ),
    Concept(
        words="port ports expose host_port container_port service service_type bind listen",
        without="ports follow from the plan, and clients come in by ingress, so take it out",
    ),
    Concept(
        words="host hostname ingress_host domain url",
        without="clients come in by ingress.host, and take the server's path from ingress.routes: write it there",
    ),
    Concept(
        words="api_key api_keys",
        without="clients' keys are those of the whole edge: write ingress.apiKeys: {<client>: generated}",
    ),
    Concept(
        words="hf_token token hugging_face_token HUGGING_FACE_HUB_TOKEN hf_hub_token",
        without="the token is the whole stack's: take it out here, and set it with `bin/pulumi config set --stack "
        "<stack> --secret huggingFaceToken`",
    ),
    Concept(
        ours={"vllm": "cache", "ollama": "storage", "llamacpp": "cache", "tgi": "cache"},
        words="volume volumes volume_mounts mounts pvc persistence persistent_volume disk hf_home download_dir",
    ),
    Concept(
        ours={"vllm": "quantization", "tgi": "quantize"},
        words="quant",
        without="the model's name says it, as ':Q4_K_M' at its end, so take it out",
    ),
    Concept(
        ours={"vllm": "attentionBackend", "ollama": "flashAttention", "llamacpp": "flashAttention"},
        words="fa flash_attn OLLAMA_FLASH_ATTENTION VLLM_ATTENTION_BACKEND",
    ),
    Concept(ours={"vllm": "loraAdapters"}, words="lora loras lora_modules adapters enable_lora"),
    Concept(
        ours={"vllm": "speculative"},
        words="draft draft_model md model_draft speculative_config num_speculative_tokens speculative_model",
    ),
    Concept(ours={"vllm": "toolCallParser"}, words="tools tool_parser enable_auto_tool_choice auto_tool_choice"),
    Concept(
        ours={"vllm": "autoscale"},
        words="autoscaling hpa min_replicas max_replicas",
        without="only vLLM's servers follow the load: write replicas",
    ),
    Concept(ours=_all("memory"), words="mem ram mem_limit memory_limit host_memory"),
    Concept(ours=_all("cpus"), words="cpu cpu_limit cpu_count num_cpus num_thread"),
    Concept(ours=_all("cpus, memory and gpus"), words="resources limits requests deploy"),
    Concept(ours=_all("nodeSelector"), words="node node_name nodes affinity node_affinity"),
    Concept(ours=_all("gpuModel"), words="gpu_type gpu_name accelerator card"),
    Concept(
        ours={"ollama": "modelfiles: {<name>: {from: <model>, ...}}, which says it"},
        words="system template parameters options temperature top_p top_k min_p stop num_predict repeat_penalty",
        without="requests say it, so take it out",
    ),
    Concept(
        words="restart restart_policy container_name depends_on healthcheck networks network runtime privileged "
        "liveness_probe readiness_probe labels annotations",
        without="the plan and Kubernetes see to it, so take it out",
    ),
)


_BY_WORD = {
    plain(word): concept
    for concept in reversed(CONCEPTS)  # the first that has a word is its own
    # What one engine's setting is called here is a word for that of another.
    for word in (*concept.words.split(), *(ours for ours in concept.ours.values() if ours.isalnum()))
}


def concept_of(word: str) -> Concept | None:
    """What `word` is another name for; None where it is not known."""
    return _BY_WORD.get(plain(word))
