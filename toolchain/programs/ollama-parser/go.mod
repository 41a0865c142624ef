module programs/ollama-parser

go 1.24.0

require github.com/ollama/ollama v0.11.4

require (
	golang.org/x/crypto v0.36.0 // indirect
	golang.org/x/sync v0.12.0 // indirect
	golang.org/x/sys v0.31.0 // indirect
	golang.org/x/text v0.23.0 // indirect
)
