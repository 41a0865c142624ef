module lab/standins/vllm

go 1.26.0
