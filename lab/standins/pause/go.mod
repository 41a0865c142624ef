module lab/standins/pause

go 1.26.0
