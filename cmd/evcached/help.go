//go:build linux || darwin || freebsd

package main

import (
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

// version is what -V says.
const version = "evcached " + memcache.Version

// help prints what -h says.
func help(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: a memcached-compatible server\n\n%s\nOptions of -o:\n", version, defaults().flags().FlagUsages())
	for _, o := range suboptions {
		name := o.name
		if o.argument != "" {
			name += "=" + o.argument
		}
		fmt.Fprintf(&b, "  %-24s %s\n", name, o.text)
	}
	b.WriteString("\nAccepted, and ignored with a warning: -D -f -k -L -n -N -r -W, and of -o:\n")
	var names []string
	for _, of := range ignoredSuboptions {
		names = append(names, of...)
	}
	slices.Sort(names)
	b.WriteString(wrap(names, 110))
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap is the names in indented lines of at most so many characters.
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
