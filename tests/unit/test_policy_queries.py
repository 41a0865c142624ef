"""Which queries of PromQL surely have a value for each pod: KEDA takes one value alone."""

from __future__ import annotations

import time

import pytest
from llm_policies.promql import is_of_each_pod


@pytest.mark.parametrize(
    "query",
    [
        "vllm:num_requests_waiting",
        'vllm:num_requests_waiting{app="min"}',
        "{__name__='vllm:num_requests_waiting'}",
        "rate(vllm:request_success_total[5m])",
        "max_over_time(x[1h:5m] offset -1d)",
        "sum by (pod) (x)",
        "SUM BY (pod) (x)",
        "avg(x) by (model_name, instance)",
        "sum without (instance) (x)",
        "sum(x) without(pod)",
        "topk(3, x)",
        "topk(1, x) by (pod)",
        "bottomk(10, x)",
        "-x / 2",
        "(x) > bool 5",
        "x @ end() * on(pod) group_left(app) y",
        "sum(x) or y",
        "sum(x) and y or z",
        "x unless sum(y)",
        "max(x) by (pod) + 1",
        "histogram_quantile(0.95, sum by (le, pod) (rate(x_bucket[5m])))",
        "label_replace(x, 'a', '$1', 'b', '(.*)')",
        "x # sum(x)",
        "clamp_max(x, 10)",
        r"""x{a="\"sum(", b='sum('}""",
    ],
)
def test_a_value_for_each_pod(query: str) -> None:
    assert is_of_each_pod(query)


@pytest.mark.parametrize(
    "query",
    [
        "sum(vllm:num_requests_waiting)",
        "sum by () (x)",
        "sum by (namespace) (x)",
        "avg(x) by (model_name)",
        "sum without (pod, instance) (x)",
        "sum(sum by (pod) (x))",
        "sum by (pod) (sum(x))",
        "topk(1, x)",
        "topk(3, sum(x))",
        "quantile(0.9, x)",
        "histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m])))",
        "sum(x) / sum(y) * 100",
        "sum(x) or vector(0)",
        "sum(x) and x > 5",
        "sum(x) unless on() y",
        "max_over_time(sum(x)[5m:1m] @ end())",
        "ceil(sum(rate(x[5m] offset 1m))) + 1e-3",
        "scalar(x)",
        "absent(x)",
        "absent_over_time(x[5m])",
        "time() - 5",
        "-.5 + Inf",
        "llm:requests:sum",
        'label_replace(sum(x), "a", "$1", "b", "(.*)")',
        # What cannot be read.
        "",
        "x)",
        "x,",
        "sum",
        "(x",
        "x +",
        "$x",
        "x{",
        "x{a{b}}",
        "x[5m",
        "x y z",
        "count_values('a', x",
        "(" * 60 + "x" + ")" * 60,
        "x" * 5000,
    ],
)
def test_one_value_or_none_that_can_be_told(query: str) -> None:
    assert not is_of_each_pod(query)


@pytest.mark.parametrize(
    "query", ['\\"' * 2000, "{" * 4000, "[" * 4000, "(" * 4000, "+" * 4000, "by(" * 1300, "x@" * 2000]
)
def test_a_hostile_query_takes_no_time(query: str) -> None:
    began = time.process_time()
    is_of_each_pod(query)
    assert time.process_time() - began < 1
