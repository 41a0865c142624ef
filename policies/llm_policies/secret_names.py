"""What is taken for a secret: by its name, and by its look."""

from __future__ import annotations

import re
from functools import lru_cache

_SECRET_WORD = re.compile(
    r".*(?:token|secrets?|passwords?|passwd|passphrase|apikeys?|accesskey|privatekey|secretkey|credentials?)"
)
_KEYS = {"key", "keys"}
_BEFORE_KEY = {"api", "access", "private", "secret", "auth", "encryption", "signing", "master"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# What follows the secret's name, also as a plural, and makes it another thing: where it is, how long it lives, whose.
_ABOUT = frozenset(
    {
        *("file", "path", "dir", "directory", "folder", "mount", "name", "url", "uri", "endpoint", "host", "port"),
        *("type", "kind", "mode", "ttl", "timeout", "expiry", "expiration", "seconds", "minutes", "hours", "days"),
        *("lifetime", "interval", "duration", "period", "age", "rotation", "refresh", "validation", "validity"),
        *("length", "len", "size", "id", "index", "count", "limit", "threshold", "budget", "policy", "header"),
        *("prefix", "suffix", "enabled", "disabled", "required", "info", "details", "ref", "version", "format"),
        *("issuer", "audience", "algorithm", "hash", "bucket", "adaptive", "scope", "method", "strategy", "encoding"),
        *("username", "user", "email", "region", "location", "namespace", "domain", "server", "service", "source"),
        *("backend", "provider", "manager", "store", "storage", "persistence", "cache", "engine", "template"),
    }
)
_NUMBER_OF = frozenset({"max", "min", "num", "number", "total", "per"})
_SWITCHES = frozenset({"allow", "no", "enable", "disable", "use", "require", "skip"})
_SWITCHED = re.compile(r"[01]|auto|always|never|optional|required")
_OF_TEXT = frozenset(
    {
        *("bos", "eos", "pad", "stop", "unk", "mask", "cls", "sep", "special", "image", "audio", "video"),
        *("start", "end", "call"),
    }
)
"""What tokens of a model's text are called by."""

# A switch, what hides a secret, what a sample has in its place, and the type that a schema gives it.
_NO_SECRET = re.compile(r"(?i)true|false|yes|no|on|off|enabled?|disabled?|\*+|your[_-][a-z_-]+|string")
# What clients write where the server asks for no key.
_NO_KEY = re.compile(
    r"(?i)empty|none|null|nil|dummy|fake|unused|no-?key|user_provided|(sk-)?(not-needed|no-key-required)"
)
_PATH = re.compile(r"(?:/[A-Za-z0-9._-]+){2,}/?")

_LOOKS = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|\bsk-[A-Za-z0-9_-]{0,40}[A-Za-z0-9]{16}"  # OpenAI, Anthropic and others that follow them
    r"|\bnvapi-[A-Za-z0-9_-]{20}"  # NVIDIA NGC
    r"|\bgh[pousr]_[A-Za-z0-9]{30}|\bgithub_pat_[A-Za-z0-9_]{30}"
    r"|\beyJ[A-Za-z0-9_-]{8,300}\.eyJ[A-Za-z0-9_-]{8}"  # a JSON Web Token
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
    r"|(?i:\bbearer\s+)(?![$(<{])[A-Za-z0-9._+/=-]{16}"
    r"|://[^\s/:@'\"]{0,200}:(?![$(<{])[^\s/@'\"]{1,200}@"  # a password in a URL
)
_IN_ALL = ("hf_", "sk-", "nvapi-", "gh", "github_pat_", "eyj", "private key", "bearer", "://")
"""One of them is in whatever `_LOOKS` finds, in small letters: looked for first, since that is far quicker."""

_OF_JSON = re.compile(r'"([A-Za-z0-9_.-]{1,64})"\s{0,20}:\s{0,20}"([^"\\\s<{\[][^"\\\s]{5,200})"')
"""A name and a text of JSON, as a configuration in a variable has it."""

_OF_KUBERNETES = re.compile(r"(?<!\$)\$\([A-Za-z_][A-Za-z0-9_.-]*\)")
_OF_PROGRAMS = re.compile(r"(?:os\.environ/|env:)[A-Za-z_][A-Za-z0-9_]*")
"""A variable in a configuration: LiteLLM's `os.environ/NAME`, and `env:NAME` of others. In a variable or an argument it
is nothing but itself."""

_BRACED = re.compile(r"\$\{[A-Za-z_][^}]*\}")
_OF_SHELL = re.compile(r"\$\(|`|\$[A-Za-z_0-9@*]")


@lru_cache(maxsize=4096)  # a stack has the same names over and over
def names_secret(name: str, *, at_the_end: bool = False) -> bool:
    """Whether what is called `name` is a secret: HF_TOKEN, apiKey or --hf-token, but not MAX_TOKENS or TOKEN_FILE.

    Args:
        name: of a variable, of a key of a ConfigMap, or an option.
        at_the_end: whether the secret's own word must be the last, as in options (--prefill-token-threshold), which may
            also be switches without a value (--allow-credentials).
    """
    words = _words(name)
    places = [index for index, word in enumerate(words) if _is_secret_word(word, words[index - 1] if index else "")]
    if not places or _NUMBER_OF & set(words):
        return False
    if at_the_end:
        return places[-1] == len(words) - 1 and words[0] not in _SWITCHES
    # Vault's is half of a login; of others it is a secret's name.
    return (words[0], *words[-2:]) == ("vault", "secret", "id") or not {words[-1], words[-1].removesuffix("s")} & _ABOUT


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORDS.findall(name))


def _is_secret_word(word: str, before: str) -> bool:
    if word in _KEYS:
        return before in _BEFORE_KEY
    return _SECRET_WORD.fullmatch(word) is not None and not (word.startswith("token") and before in _OF_TEXT)


def value_may_be_secret(name: str, text: str) -> bool:
    """Whether `text` can be the secret that `name` says: no switch, sample, path of a file or stand-in for no key."""
    if _NO_SECRET.fullmatch(text) or (_SWITCHED.fullmatch(text) and _SWITCHES & set(_words(name)[:1])):
        return False
    lower = name.lower()
    if "credential" in lower and _PATH.fullmatch(text):
        return False
    return not (("key" in lower or "token" in lower) and _NO_KEY.fullmatch(text))


def looks_secret(text: str) -> bool:
    """Whether `text` holds a secret whatever it is called."""
    small = text.lower()
    if any(part in small for part in _IN_ALL) and _LOOKS.search(text) is not None:
        return True
    return '"' in text and any(_is_pair_of_secret(*found.groups()) for found in _OF_JSON.finditer(text))


def _is_pair_of_secret(name: str, text: str) -> bool:
    return (
        names_secret(name, at_the_end=True)
        and value_may_be_secret(name, text)
        and not is_reference(text, in_shell=True)
        and not _OF_PROGRAMS.fullmatch(text)
        and not _PATH.fullmatch(text)
    )


def is_reference(text: str, *, in_shell: bool = False) -> bool:
    """Whether the secret itself is elsewhere: `$(NAME)` is Kubernetes' own, `$NAME` and `$(cat ...)` a shell's."""
    text = text.strip("\"'")
    if _OF_KUBERNETES.search(text) or _BRACED.fullmatch(text):
        return True
    return in_shell and _OF_SHELL.search(text) is not None
