//go:build linux || darwin || freebsd

package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/evmq/evmq/memcache"
)

// license is the module's LICENSE, which a program that is passed on without it has to contain.
//
//go:embed license.txt
var license string

// version returns the answer to -V: the release of memcached whose behaviour evcached has, as the second word as in memcached, and evcached's own.
func version() string { return "evcached " + memcache.Version + " (evmq " + memcache.Release() + ")" }

// help prints the answer to -h.
func help(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: a memcached-compatible server\n\n%s\nOptions of -o:\n", version(), defaults().flags().FlagUsages())
	for _, o := range suboptions {
		name := o.name
		if o.argument != "" {
			name += "=" + o.argument
		}
		fmt.Fprintf(&b, "  %-30s %s\n", name, o.text)
	}
	var letters, names []string
	for _, o := range ignoredOptions {
		letters = append(letters, "-"+o.letter)
	}
	slices.SortFunc(letters, func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
	fmt.Fprintf(&b, "\nAccepted, and ignored with a warning: %s, and of -o:\n", strings.Join(letters, " "))
	for _, of := range ignoredSuboptions {
		names = append(names, of...)
	}
	slices.Sort(names)
	b.WriteString(wrap(names, 110))
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap returns the names in indented lines of at most width characters.
func wrap(names []string, width int) string {
	var b strings.Builder
	line := " "
	for _, name := range names {
		if len(line)+1+len(name) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + name
	}
	return b.String() + line + "\n"
}
