//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/evmq/evmq/memcache"
)

// Errors for options that end the parsing of a command line at once, as in memcached: the rest of the line is ignored.
var (
	errHelp    = errors.New("help was requested")
	errVersion = errors.New("the version was requested")
	errLicense = errors.New("the license was requested")
)

// parse parses a command line. passed are the sockets from a service manager. The error is one of the three above, or a failure.
func parse(args []string, passed []*os.File) (*settings, error) {
	s := defaults()
	s.passed = passed
	flags := s.flags()
	for _, arg := range args {
		if strings.HasPrefix(arg, "-test.") { // pflag leaves those to go test
			return nil, illegal("unknown option %s", arg)
		}
	}
	if err := flags.Parse(args); err != nil {
		return nil, explain(err)
	}
	for _, arg := range flags.Args() {
		s.warn("argument %q is not an option and is ignored", arg)
	}
	if err := s.check(flags.Changed); err != nil {
		return nil, err
	}
	return s, nil
}

// explain returns a failure for an error of pflag.
func explain(err error) error {
	for _, end := range []error{errHelp, errVersion, errLicense} {
		if errors.Is(err, end) {
			return end
		}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return illegal("unknown option %s%s", dashes, unknown.GetSpecifiedName())
	}
	return fail(status(err), "%w", err)
}

// flags defines memcached's options, with its letters and long names.
func (s *settings) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("evcached", pflag.ContinueOnError)
	f.SortFlags = false
	c := &s.config

	f.FuncP("port", "p", "TCP `port` to listen on, 0 for none, -1 for any (default 11211)", number(&s.port, -1, math.MaxUint16, statusUsage))
	f.FuncP("udp-port", "U", "UDP `port` to listen on, 0 for none (default 0)", number(&s.udpPort, -1, math.MaxUint16, statusUsage))
	f.FuncP("listen", "l", "`address` to listen on, with a port or without; several, by commas or by repeating it;\n"+
		"* for all; with -Z, notls:address is without TLS (default "+defaultAddress+")", s.addListen)
	f.FuncP("unix-socket", "s", "unix socket `file` to listen on, and on nothing else", path(&s.socket))
	f.FuncP("unix-mask", "a", "`mode` of the unix socket, in octal (default 700)", mode(&s.socketMode))
	f.FuncP("conn-limit", "c", "how many `connections` there may be (default 1024)", number(&s.conns, 1, math.MaxInt32, statusIllegal))
	f.FuncP("listen-backlog", "b", "how many connections may wait to be accepted: `length` (default 1024)", number(&s.backlog, 1, math.MaxInt32, statusIllegal))
	f.FuncP("threads", "t", "`number` of event loops (default: the processors)", number(&s.loops, 1, math.MaxInt16, statusIllegal))
	f.FuncP("max-reqs-per-event", "R", "`requests` of a connection before the others' turn (default 20)", number(&c.PerTurn, 1, math.MaxInt32, statusIllegal))

	f.FuncP("memory-limit", "m", "`megabytes` that items may take (default 64)", megabytes(&c.Memory))
	f.FuncP("max-item-size", "I", "largest item: `bytes`, or with k or m behind (default 1m, least 1k, most 1024m)", itemSize(&c.MaxItem))
	f.BoolVarP(&c.NoEvict, "disable-evictions", "M", false, "answer with an error when memory is full, instead of evicting")
	f.BoolVarP(&c.NoCAS, "disable-cas", "C", false, "give items no unique number")
	f.BoolVarP(&c.NoFlush, "disable-flush-all", "F", false, "refuse flush_all")
	f.BoolVarP(&c.NoDump, "disable-dumping", "X", false, "refuse the commands that list keys")
	f.BoolVarP(&c.NoWatch, "disable-watch", "W", false, "refuse the watch command")
	f.FuncP("protocol", "B", "`protocol` of clients: ascii, binary or auto (default auto)", protocol(&c.Protocol))

	f.FuncP("auth-file", "Y", "`file` of user:password lines for authentication", path(&s.authFile))
	f.BoolVarP(&c.SASL, "enable-sasl", "S", false, "binary clients authenticate, by SASL, as one of -Y's users")
	f.BoolVarP(&s.tls.on, "enable-ssl", "Z", false, "use TLS; see -o ssl_chain_cert")
	f.BoolVarP(&s.shutdown, "enable-shutdown", "A", false, "allow the shutdown command")

	f.BoolVarP(&s.daemon, "daemon", "d", false, "detach from the terminal, once it listens")
	f.FuncP("pidfile", "P", "write the process's number to `file`", path(&s.pidFile))
	f.FuncP("memory-file", "e", "`file` that keeps the items over a restart: written after SIGUSR1 and shutdown graceful,\n"+
		"read and removed at the start", path(&s.memoryFile))
	f.StringVarP(&s.user, "user", "u", "", "become this `user`, when started by root")
	f.CountVarP(&c.Verbosity, "verbose", "v", "``log addresses and failures; -vv, also requests and answers")
	f.FuncP("extended", "o", "`options`, by commas; see below", s.suboptions)
	for _, end := range []struct {
		name, letter, text string
		err                error
	}{
		{"help", "h", "print this and exit", errHelp},
		{"version", "V", "print the version and exit", errVersion},
		{"license", "i", "print the license and exit", errLicense},
	} {
		f.BoolFuncP(end.name, end.letter, end.text, func(string) error { return end.err })
	}
	s.ignored(f)
	f.SetNormalizeFunc(completer(f))
	return f
}

// ignoredOptions have no meaning here. A command line with them is accepted, with a warning.
var ignoredOptions = []struct {
	name, letter string
	argument     bool
	why          string
}{
	{"slab-growth-factor", "f", true, "there are no slabs"},
	{"slab-min-size", "n", true, "there are no slabs"},
	{"enable-largepages", "L", false, "the Go runtime chooses the pages"},
	{"lock-memory", "k", false, "memory is not locked"},
	{"enable-coredumps", "r", false, "GOTRACEBACK=crash enables core files"},
	{"prefix-delimiter", "D", true, "a prefix ends at a colon"},
	{"napi-ids", "N", true, "connections are assigned to the loops in turn"},
}

// ignored adds ignoredOptions to the flags.
func (s *settings) ignored(f *pflag.FlagSet) {
	for _, o := range ignoredOptions {
		ignore := func(string) error {
			s.warn("-%s (--%s) is ignored: %s", o.letter, o.name, o.why)
			return nil
		}
		if o.argument {
			f.FuncP(o.name, o.letter, "", ignore)
		} else {
			f.BoolFuncP(o.name, o.letter, "", ignore)
		}
		f.Lookup(o.name).Hidden = true
	}
}

// completer allows a long name to be abbreviated to an unambiguous prefix, as getopt does.
func completer(f *pflag.FlagSet) func(*pflag.FlagSet, string) pflag.NormalizedName {
	var names []string
	f.VisitAll(func(o *pflag.Flag) { names = append(names, o.Name) })
	return func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		var found []string
		for _, n := range names {
			switch {
			case n == name:
				return pflag.NormalizedName(n)
			case strings.HasPrefix(n, name):
				found = append(found, n)
			}
		}
		if len(found) == 1 {
			name = found[0]
		}
		return pflag.NormalizedName(name)
	}
}

// addListen adds the addresses of another -l.
func (s *settings) addListen(value string) error {
	s.listen = append(s.listen, strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ';' })...)
	return nil
}

// path is the value of an option that names a file. It is made absolute, because a daemon changes its directory before files are read again.
func path(to *string) func(string) error {
	return func(value string) (err error) {
		if value == "" {
			return errors.New("the name of the file is empty")
		}
		*to, err = filepath.Abs(value)
		return err
	}
}

// protocol is the value of -B.
func protocol(to *memcache.Protocol) func(string) error {
	return func(value string) error {
		switch value {
		case "auto":
			*to = memcache.Auto
		case "ascii":
			*to = memcache.Text
		case "binary":
			*to = memcache.Binary
		default:
			return usage("must be auto, binary or ascii")
		}
		return nil
	}
}
