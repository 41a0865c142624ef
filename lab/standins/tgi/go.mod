module lab/standins/tgi

go 1.26.0
