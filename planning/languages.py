"""Codes of languages, and which languages lose most by coarse weights."""

from __future__ import annotations


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


CODES = _codes(
    "aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee "
    "el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io "
    "is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn "
    "mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se "
    "sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo "
    "wa wo xh yi yo za zh zu"
)
"""ISO 639-1."""

MISTAKEN = {"kr": "ko", "jp": "ja", "cn": "zh", "cz": "cs", "dk": "da", "gr": "el", "ua": "uk"}
"""Codes of countries that are written for those of their languages; `kr` is Kanuri's."""

_OTHER_SCRIPTS = _codes(
    "ab am ar as av ba be bg bn bo ce cu cv dv dz el fa gu he hi hy ii iu ja ka kk km kn ko ks kv ky lo mk ml "
    "mn mr my ne oj or os pa ps ru sa sd si ta te tg th ti tt ug uk ur yi zh"
)


def suffers_from_4_bits(language: str) -> bool:
    """Whether `language` loses more than English by quantization to 4 bits: whatever is not written in Latin letters.

    Marchisio et al., How Does Quantization Affect Multilingual LLMs? (arXiv 2407.03211), by the judgement of people.
    Of K-quants of one model, and Norwegian, nothing of the kind was found (arXiv 2503.03592).
    """
    return language in _OTHER_SCRIPTS
