// What Ollama's own parser makes of Modelfiles: each line of standard input is a text as JSON, and is answered by a line
// with its commands and the parameters of the request that `ollama create` would send, or with what is wrong.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"

	"github.com/ollama/ollama/parser"
)

type answer struct {
	Commands   [][2]string    `json:"commands"`
	Parameters map[string]any `json:"parameters"`
	Error      string         `json:"error"`
}

func main() {
	answers := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr // the parser prints its warnings
	questions := bufio.NewScanner(os.Stdin)
	questions.Buffer(nil, 16<<20)
	for questions.Scan() {
		var text string
		if err := json.Unmarshal(questions.Bytes(), &text); err != nil {
			panic(err)
		}
		if err := answers.Encode(ask(text)); err != nil {
			panic(err)
		}
	}
}

func ask(text string) answer {
	found, err := parser.ParseFile(strings.NewReader(text))
	if err != nil {
		return answer{Error: err.Error()}
	}
	said := answer{}
	for _, command := range found.Commands {
		said.Commands = append(said.Commands, [2]string{command.Name, command.Args})
	}
	// Its files are elsewhere, and looked for by name.
	found.Commands = slices.DeleteFunc(found.Commands, func(command parser.Command) bool {
		return command.Name == "model" || command.Name == "adapter"
	})
	request, err := found.CreateRequest("")
	if err != nil {
		said.Error = err.Error()
		return said
	}
	said.Parameters = request.Parameters
	return said
}
