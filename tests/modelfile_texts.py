"""Modelfiles to try: with one mistake each, and made up by hypothesis, right or wrong in every way."""

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
    ),
    license=st.lists(_contents, max_size=2),
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

ONE_MISTAKE = {
    "FROM x\nPARAMETER temprature 0.7": (
        "modelfile line 2: unknown parameter 'temprature', which Ollama refuses; did you mean 'temperature'?"
    ),
    "SYSTEM Be kind.": (
        "modelfile: no FROM line, so it says of no model what to change. Begin with e.g. 'FROM qwen3:4b'."
    ),
    "": "modelfile: no FROM line, so it says of no model what to change. Begin with e.g. 'FROM qwen3:4b'.",
    "FORM qwen3:4b": "modelfile line 1: 'FORM' is no instruction; did you mean 'FROM'?",
    "FROM": "modelfile line 1: FROM says nothing more; Ollama would refuse it. Write e.g. 'FROM ...'.",
    "FROM x\nSYSTEM \nLICENSE MIT": (
        "modelfile line 2: SYSTEM says nothing more. Write e.g. 'SYSTEM ...', or leave it out."
    ),
    "FROM x\nPARAMETER /no_think true": (
        "modelfile line 2: '/no_think' is no name: Ollama reads letters, digits and _ alone, and calls this an "
        "unexpected end. Write e.g. 'PARAMETER temperature 0.7'."
    ),
    "FROM x\nPARAMETER  top_k 5": (
        "modelfile line 2: two blanks after PARAMETER: Ollama would take the name for empty. Write e.g. 'PARAMETER "
        "temperature 0.7'."
    ),
    "FROM x\nPARAMETER top_k": (
        "modelfile line 2: PARAMETER top_k has no value. Write e.g. 'PARAMETER temperature 0.7'."
    ),
    "FROM x\nPARAMETER top_k 5.0": ("modelfile line 2: '5.0' is not a whole number, so Ollama would refuse the model."),
    "FROM x\nPARAMETER top_p high": "modelfile line 2: 'high' is not a number, so Ollama would refuse the model.",
    "FROM x\nPARAMETER top_p 1 # all": (
        "modelfile line 2: '1 # all' is not a number, so Ollama would refuse the model; a comment needs a line of "
        "its own."
    ),
    "FROM x\nPARAMETER use_mmap yes": (
        "modelfile line 2: 'yes' is neither true nor false, so Ollama would refuse the model."
    ),
    "FROM x\nPARAMETER seed 9223372036854775808": (
        "modelfile line 2: 9223372036854775808 is too large for Ollama, so Ollama would refuse the model."
    ),
    "FROM x\nPARAMETER top_k 1\nPARAMETER top_k 2": (
        "modelfile line 3: top_k comes again, after line 2; Ollama would take the last alone."
    ),
    "FROM x\nSYSTEM a\nSYSTEM b": (
        "modelfile line 3: system comes again, after line 2; Ollama would take the last alone."
    ),
    "FROM x\nPARAMETER tfs_z 1": (
        "modelfile line 2: unknown parameter 'tfs_z', which Ollama refuses: it is gone since 0.5.2; use min_p."
    ),
    "FROM x\nMESSAGE tool hi": "modelfile line 2: role 'tool' is not one of system, user, assistant.",
    "FROM x\nMESSAGE User hi": (
        "modelfile line 2: role 'User' is not one of system, user, assistant; did you mean 'user'?"
    ),
    'FROM x\n\nSYSTEM """You are\nMESSAGE user hi': (
        'modelfile line 3: SYSTEM begins with """, and no line ends with """, so all that follows would be a part of '
        "it. Write it there, with nothing after it."
    ),
    "FROM x\nSYSTEM You are\nkind.": (
        'modelfile line 3: \'kind.\' is no instruction; a text of several lines needs """ around it.'
    ),
    "FROM x\nSYSTEM glued\u00a0words": (
        "modelfile line 2: has U+00A0 (no-break space), which Ollama leaves out of a Modelfile without a word. Write a "
        "plain space in its place, or take it out."
    ),
    'FROM x\nSYSTEM """a """ b"""': (
        'modelfile line 2: contains """, which ends the text in a Modelfile; leave the quotes out.'
    ),
    "FROM qwen 3": "modelfile line 1: 'qwen 3' is not an Ollama model name; write e.g. 'qwen3:4b'.",
    "FROM /data/x.gguf": (
        "modelfile line 1: '/data/x.gguf' is no path of a GGUF file below the server's `files`; write e.g. "
        "'./model-Q4_K_M.gguf'."
    ),
    "FROM x\nADAPTER ./../secret.gguf": (
        "modelfile line 2: './../secret.gguf' is no path of a GGUF file below the server's `files`; write e.g. "
        "'./model-Q4_K_M.gguf'."
    ),
    "FROM x\nREQUIRES soon": "modelfile line 2: 'soon' is no version of Ollama; write e.g. '0.14.0'.",
    "FROM x\nPARSER two words": "modelfile line 2: 'two words' is not one name; write e.g. 'qwen3'.",
}
"""What must be told, by text."""
