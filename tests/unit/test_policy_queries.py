"""Which queries of PromQL surely have a value for each pod: KEDA takes one value alone."""

from __future__ import annotations

import pytest
from cpu_time import cpu_seconds
from hypothesis import given
from hypothesis import strategies as st
from llm_policies.promql import is_of_each_pod


@pytest.mark.parametrize(
    "query",
    [
        "vllm:num_requests_waiting",
        'vllm:num_requests_waiting{app="min"}',
        "{__name__='vllm:num_requests_waiting'}",
        "rate(vllm:request_success_total[5m])",
        "max_over_time(vllm:x[1h:5m] offset -1d)",
        "sum by (pod) (vllm:x)",
        "SUM BY (pod) (vllm:x)",
        "avg(vllm:x) by (model_name, instance)",
        "sum without (instance) (vllm:x)",
        "sum(vllm:x) without(pod)",
        "topk(3, vllm:x)",
        "topk(1, vllm:x) by (pod)",
        "bottomk(10, vllm:x)",
        "-vllm:x / 2",
        "(vllm:x) > bool 5",
        "vllm:x @ end() * on(pod) group_left(app) vllm:y",
        "sum(vllm:x) or vllm:y",
        "sum(vllm:x) and vllm:y or vllm:z",
        "vllm:x unless sum(vllm:y)",
        "max(vllm:x) by (pod) + 1",
        "histogram_quantile(0.95, sum by (le, pod) (rate(vllm:x_bucket[5m])))",
        "label_replace(vllm:x, 'a', '$1', 'b', '(.*)')",
        "vllm:x # sum(vllm:x)",
        "clamp_max(vllm:x, 10)",
        "sglang:num_queue_reqs",
        "llamacpp:requests_deferred",
        "tgi_queue_size",
        'vllm:x{pod=~"chat-.*"}',
        'vllm:x{pod!="chat-0"}',
        'vllm:x{pod!~"chat-0"}',
        'vllm:x{tripod="chat-0"}',
        'vllm:x{pod="chat-0"} + on() group_right() vllm:y',
        '{__name__="vllm:x", app="a"}',
        r"""vllm:x{a="\"sum(", b='sum('}""",
    ],
)
def test_a_value_for_each_pod(query: str) -> None:
    assert is_of_each_pod(query)


@pytest.mark.parametrize(
    "query",
    [
        "sum(vllm:num_requests_waiting)",
        "sum by () (vllm:x)",
        "sum by (namespace) (vllm:x)",
        "avg(vllm:x) by (model_name)",
        "sum without (pod, instance) (vllm:x)",
        "sum(sum by (pod) (vllm:x))",
        "sum by (pod) (sum(vllm:x))",
        "topk(1, vllm:x)",
        "topk(3, sum(vllm:x))",
        "quantile(0.9, vllm:x)",
        "histogram_quantile(0.95, sum by (le) (rate(vllm:x_bucket[5m])))",
        "sum(vllm:x) / sum(vllm:y) * 100",
        "sum(vllm:x) or vector(0)",
        "sum(vllm:x) and vllm:x > 5",
        "sum(vllm:x) unless on() vllm:y",
        "max_over_time(sum(vllm:x)[5m:1m] @ end())",
        "ceil(sum(rate(vllm:x[5m] offset 1m))) + 1e-3",
        "scalar(vllm:x)",
        "absent(vllm:x)",
        "absent_over_time(vllm:x[5m])",
        "time() - 5",
        "-.5 + Inf",
        "llm:requests:sum",
        'label_replace(sum(vllm:x), "a", "$1", "b", "(.*)")',
        # Of one pod, or of what need not be of pods at all.
        'vllm:x{pod="chat-0"}',
        "vllm:x{app='a', pod = 'chat-0'} * 2",
        "rate(vllm:x{instance='10.0.0.1:8000'}[5m])",
        'vllm:x{pod=~"chat-0"}',
        '{__name__="vllm:x",pod="chat-0"}',
        "{app='a'}",
        "{__name__=~'vllm:x'}",
        "{__name__!='vllm:x'}",
        'rabbitmq_queue_messages{queue="jobs"}',
        "kube_deployment_status_replicas{deployment='a',namespace='b'}",
        "{__name__='rabbitmq_queue_messages'}",
        "sum by (pod) (rabbitmq_queue_messages)",
        "vllm:x:sum",
        "vllm:x{pod=5}",
        # What cannot be read.
        "",
        "vllm:x)",
        "vllm:x,",
        "sum",
        "(vllm:x",
        "vllm:x +",
        "$x",
        "vllm:x{",
        "vllm:x{a{b}}",
        "vllm:x[5m",
        "vllm:x vllm:y vllm:z",
        "count_values('a', vllm:x",
        "(" * 60 + "vllm:x" + ")" * 60,
        "vllm:" + "x" * 5000,
    ],
)
def test_one_value_or_none_that_can_be_told(query: str) -> None:
    assert not is_of_each_pod(query)


@pytest.mark.parametrize(
    "query", ['\\"' * 2000, "{" * 4000, "[" * 4000, "(" * 4000, "+" * 4000, "by(" * 1300, "x@" * 2000]
)
def test_a_hostile_query_takes_no_time(query: str) -> None:
    with cpu_seconds(10):
        is_of_each_pod(query)


WORDS = [*"(){}[],+-'\"#@ ", "sum", "by", "topk", "vllm:x", "or", "offset"]


@given(st.lists(st.sampled_from(WORDS), max_size=30), st.text())
def test_any_text_is_read(words: list[str], text: str) -> None:
    assert is_of_each_pod(" ".join(words)) in (True, False)
    assert is_of_each_pod(text) in (True, False)
