"""Modelfiles made up by hypothesis: values, and texts that may be wrong in every way."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from settings.modelfile import Message, ModelfileSettings
from settings.ollama_facts import PARAMETERS, ROLES, ParameterKind

# Letters of several scripts, everything that means something in a Modelfile, and line ends.
_characters = st.sampled_from("abzAZ09 _-.:/#{}'\"\\\n\tß끝語é🙂")
_contents = st.text(_characters, min_size=1, max_size=60).filter(lambda text: '"""' not in text)
_words = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
_files = _words.map(lambda word: f"./{word}.gguf")

_values: dict[ParameterKind, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63) + 1, 2**63 - 1),
    "float": st.floats(-1e38, 1e38, allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "texts": st.lists(_contents, min_size=1, max_size=3),
}

modelfiles: st.SearchStrategy[ModelfileSettings] = st.builds(
    ModelfileSettings,
    from_=st.sampled_from(["qwen3:4b", "hf.co/owner/name-GGUF:Q4_K_M", "registry:5000/ns/name"]) | _files,
    system=st.none() | _contents,
    template=st.none() | _contents,
    parameters=st.fixed_dictionaries({}, optional={name: _values[kind] for name, kind in PARAMETERS.items()}),
    adapter=st.none() | _files,
    draft=st.none() | _files,
    messages=st.lists(
        st.builds(Message, role=st.sampled_from(ROLES), content=_contents),
        max_size=3,
    ).map(tuple),
    license=st.lists(_contents, max_size=2).map(tuple),
    renderer=st.none() | _words,
    parser=st.none() | _words,
    requires=st.none() | st.sampled_from(["0.14.0", "v1.2.3-rc1"]),
)

_pieces = st.sampled_from(
    [
        *("FROM ", "from\t", "SYSTEM ", "TEMPLATE ", "LICENSE ", "ADAPTER ", "MESSAGE ", "PARAMETER ", "# ", "FRM "),
        *("qwen3:4b", "./x.gguf", "user ", "assistant ", "bot ", "temperature ", "stop ", "num_ctx ", "use_mmap "),
        *(
            "0.7",
            "8192",
            "true",
            "hello",
            '"',
            '"""',
            '"quoted"',
            '"""quoted"""',
            " ",
            "\t",
            "\n",
            "\n",
            "\r\n",
            "é",
            "#",
        ),
    ]
)
texts: st.SearchStrategy[str] = st.lists(_pieces, max_size=16).map("".join)
"""What looks like a Modelfile, and often is one."""
