package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed serve_flags.json
var serveFlags []byte

// flag is one entry of vLLM's own parser, as read from it.
type flag struct {
	Names   []string `json:"flags"`
	Dest    string   `json:"dest"`
	Action  string   `json:"action"`
	Type    string   `json:"type"`
	NArgs   any      `json:"nargs"`
	Choices []any    `json:"choices"`
}

// arguments holds what the command line says: the values of each flag that was given, by its name without dashes and
// with underscores, as in vLLM's Namespace.
type arguments struct {
	model  string
	values map[string][]string
}

// usageError is what argparse prints before it exits with code 2.
type usageError struct{ program, message string }

func (e usageError) Error() string { return fmt.Sprintf("%s: error: %s", e.program, e.message) }

func invalid(format string, a ...any) error {
	return usageError{"vllm serve", fmt.Sprintf(format, a...)}
}

// parser finds flags by every spelling that vLLM accepts.
type parser struct {
	flags map[string]*flag
	known map[string]bool
}

func newParser() *parser {
	var table struct {
		Accepted []string `json:"all_accepted_option_strings"`
		Flags    []*flag  `json:"flags"`
	}
	if err := json.Unmarshal(serveFlags, &table); err != nil {
		panic(err)
	}
	p := &parser{flags: map[string]*flag{}, known: map[string]bool{}}
	for _, name := range table.Accepted {
		p.known[name] = true
	}
	for _, f := range table.Flags {
		for _, name := range f.Names {
			p.flags[name] = f
		}
	}
	return p
}

// find gives the flag of an option string: exactly named (abbreviations pass in vLLM, and break with its next flag,
// so they do not pass here), or the negation of a boolean.
func (p *parser) find(name string) *flag {
	if !p.known[name] {
		return nil
	}
	if f := p.flags[name]; f != nil {
		return f
	}
	return p.flags["--"+strings.TrimPrefix(name, "--no-")]
}

func (f *flag) isJSON() bool {
	return strings.Contains(f.Type, "loads") || strings.Contains(f.Type, "parse_dataclass")
}

func (f *flag) takes() (least, most int) {
	switch f.NArgs {
	case "+":
		return 1, 1 << 30
	case "?":
		return 0, 1
	case nil:
		return 1, 1
	}
	return 0, 0 // the number 0: booleans
}

// says whether a boolean is switched on by `name`.
func (f *flag) switchedOn(name string) bool {
	opposite := strings.NewReplacer("--enable-", "--disable-", "--disable-", "--enable-").Replace(f.Names[0])
	return !strings.HasPrefix(name, "--no-") && (name == f.Names[0] || name != opposite)
}

var negativeNumber = regexp.MustCompile(`^-\d+$|^-\d*\.\d+$`)

// isOption says whether argparse takes `word` for an option: with a space in it, only where it begins with an option's
// name and "=", as a chat template's may.
func (p *parser) isOption(word string) bool {
	if len(word) < 2 || word[0] != '-' || negativeNumber.MatchString(word) {
		return false
	}
	name, _, inline := strings.Cut(word, "=")
	return !strings.Contains(word, " ") || inline && p.find(spelled(name)) != nil
}

// spelled is the name of an option as it is known: vLLM takes underscores for dashes.
func spelled(name string) string {
	if strings.HasPrefix(name, "--") {
		return strings.ReplaceAll(name, "_", "-")
	}
	return name
}

// parse reads the arguments of `vllm serve` as vLLM's parser does.
func (p *parser) parse(words []string) (*arguments, error) {
	parsed := &arguments{values: map[string][]string{}}
	var unrecognized []string
	for i := 0; i < len(words); {
		word := words[i]
		i++
		if !p.isOption(word) {
			if parsed.model == "" {
				parsed.model = word
			} else {
				unrecognized = append(unrecognized, word)
			}
			continue
		}
		name, inline, hasInline := strings.Cut(word, "=")
		name = spelled(name)
		f := p.find(name)
		if base, _, dotted := strings.Cut(name, "."); dotted && p.find(base) != nil && p.find(base).isJSON() {
			f = &flag{Names: []string{name}, Dest: p.find(base).Dest + ".", Type: "str"} // one key of a JSON value
		}
		if f == nil {
			unrecognized = append(unrecognized, word)
			continue
		}
		least, most := f.takes()
		label := "argument " + strings.Join(f.Names, "/")
		var values []string
		if hasInline {
			if most == 0 {
				return nil, invalid("%s: ignored explicit argument '%s'", label, inline)
			}
			values = []string{inline}
		} else {
			for len(values) < most && i < len(words) && !p.isOption(words[i]) {
				values = append(values, words[i])
				i++
			}
		}
		if len(values) < least {
			return nil, invalid("%s: expected %s", label, map[bool]string{true: "at least one argument", false: "one argument"}[most > 1])
		}
		for _, value := range values {
			if err := f.check(label, value); err != nil {
				return nil, err
			}
		}
		if most == 0 {
			values = []string{strconv.FormatBool(f.switchedOn(name))}
		}
		parsed.values[f.Dest] = values
	}
	if len(unrecognized) > 0 {
		return nil, usageError{"vllm", "unrecognized arguments: " + strings.Join(unrecognized, " ")}
	}
	if models := parsed.values["model"]; parsed.model == "" && len(models) > 0 {
		parsed.model = models[0] // still works, with a warning
	}
	return parsed, nil
}

// check says whether `value` is of the flag's type and among its choices.
func (f *flag) check(label, value string) error {
	kind := f.Type
	if inner, optional := strings.CutPrefix(kind, "optional_type("); optional {
		if value == "" || value == "None" {
			return nil
		}
		kind = strings.TrimSuffix(inner, ")")
	}
	var err error
	switch kind {
	case "int":
		_, err = strconv.Atoi(strings.TrimSpace(value))
	case "float":
		_, err = strconv.ParseFloat(value, 64)
	case "human_readable_int":
		_, err = humanReadable(value)
	case "human_readable_int_or_auto":
		if value != "auto" && value != "-1" {
			_, err = humanReadable(value)
		}
	default:
		if f.isJSON() {
			err = json.Unmarshal([]byte(value), new(any))
		}
	}
	if err != nil {
		return invalid("%s: invalid %s value: '%s'", label, kind, value)
	}
	if len(f.Choices) > 0 && !slices.ContainsFunc(f.Choices, func(choice any) bool { return fmt.Sprint(choice) == value }) {
		var names []string
		for _, choice := range f.Choices {
			if text, isText := choice.(string); isText {
				names = append(names, "'"+text+"'")
			} else {
				names = append(names, fmt.Sprint(choice))
			}
		}
		return invalid("%s: invalid choice: '%s' (choose from %s)", label, value, strings.Join(names, ", "))
	}
	return nil
}

var suffixed = regexp.MustCompile(`^(\d+(?:\.\d+)?)([kKmMgGtT])$`)

// humanReadable reads vLLM's integers: 1k is 1,000 and 1K is 1,024.
func humanReadable(value string) (int, error) {
	found := suffixed.FindStringSubmatch(value)
	if found == nil {
		return strconv.Atoi(value)
	}
	power := strings.Index("kmgt", strings.ToLower(found[2])) + 1
	number, err := strconv.ParseFloat(found[1], 64)
	base := 1000
	if found[2] == strings.ToUpper(found[2]) {
		base = 1024
		if strings.Contains(found[1], ".") {
			return 0, fmt.Errorf("decimals are not allowed with binary suffixes like %s", found[2])
		}
	}
	for range power {
		number *= float64(base)
	}
	return int(number), err
}

// text, number, decimal and on give a flag's value, or the default when it was not given.

func (a *arguments) text(dest, otherwise string) string {
	if values := a.values[dest]; len(values) > 0 && values[0] != "" && values[0] != "None" {
		return values[0]
	}
	return otherwise
}

func (a *arguments) number(dest string, otherwise int) int {
	if number, err := humanReadable(a.text(dest, "")); err == nil {
		return number
	}
	return otherwise
}

func (a *arguments) decimal(dest string, otherwise float64) float64 {
	if number, err := strconv.ParseFloat(a.text(dest, ""), 64); err == nil {
		return number
	}
	return otherwise
}

func (a *arguments) on(dest string) bool { return a.text(dest, "false") == "true" }
