//go:build linux

// Load measures WebSocket servers from another process, with many sockets and one thread.
//
//	go build -o /tmp/ws/ ./ws/...
//	load -mode echo -conns 1000 -messages 100000 gorilla='/tmp/ws/gorilla -addr 127.0.0.1:{port}' nbio='/tmp/ws/nbio -addr 127.0.0.1:{port}'
//	load -mode echo -path /deflate ...       # with compression
//	load -mode broadcast -conns 10000 ...    # the time until the last socket has a message
//	load -mode idle -conns 2000,16000 ...    # the memory of an idle socket
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evmq/evmq/bench/internal/wspeer"
)

type options struct {
	mode     string
	conns    []int // more than one with -mode idle
	inflight int
	messages int
	size     int
	text     bool
	path     string
	rounds   int
	reading  bool
	wait     time.Duration
	base     string
	servers  []string // NAME=COMMAND each
}

func (o *options) compress() bool { return o.path == string(wspeer.Deflate) }

func main() {
	log.SetFlags(0)
	runtime.LockOSThread() // servers are killed when the thread that has started them ends
	o, err := parse(os.Args[0], os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = map[string]func(*options) error{"echo": echo, "broadcast": broadcast, "idle": idle}[o.mode](&o)
	}
	if err != nil {
		log.Fatal("load: ", err)
	}
}

func parse(program string, args []string) (o options, err error) {
	f := flag.NewFlagSet(program, flag.ContinueOnError)
	f.Usage = func() {
		log.Printf("usage: %s [options] NAME='COMMAND with {port}' ...", program)
		f.PrintDefaults()
	}
	f.StringVar(&o.mode, "mode", "echo", "echo, broadcast or idle")
	conns := f.String("conns", "1000", "number of sockets; with -mode idle a small and a large number, separated by a comma")
	f.IntVar(&o.inflight, "inflight", 0, "with -mode echo: messages that are not answered at a time, at most one on each socket; 0 for one on each")
	f.IntVar(&o.messages, "messages", 0, "with -mode echo: messages of a run, or 0 for 20000; with -mode broadcast: messages to each socket in a run, or 0 for 10")
	f.IntVar(&o.size, "size", 1024, "bytes of a message")
	f.BoolVar(&o.text, "text", false, "messages of the client are text and not binary")
	f.StringVar(&o.path, "path", string(wspeer.Echo), "path of the sockets, except with -mode broadcast: /echo or /deflate")
	f.IntVar(&o.rounds, "rounds", 10, "runs of each server, in random order")
	f.BoolVar(&o.reading, "reading", false, "with -mode broadcast: messages are read as they arrive; otherwise when the last has arrived")
	f.DurationVar(&o.wait, "wait", 3*time.Second, "with -mode idle: time without traffic before the memory is noted")
	f.StringVar(&o.base, "base", "", "name of the server to which the others are compared; empty for the first")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.servers = f.Args()
	for number := range strings.SplitSeq(*conns, ",") {
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return o, fmt.Errorf("-conns is %q", *conns)
		}
		o.conns = append(o.conns, n)
	}
	return o, o.check()
}

func (o *options) check() error {
	numbers := 1
	if o.mode == "idle" {
		numbers = 2
	}
	switch {
	case !slices.Contains([]string{"echo", "broadcast", "idle"}, o.mode):
		return fmt.Errorf("-mode is %q", o.mode)
	case len(o.conns) != numbers || numbers == 2 && o.conns[0] >= o.conns[1]:
		return fmt.Errorf("-conns is %v, which -mode %s does not accept", o.conns, o.mode)
	case o.inflight < 0 || o.inflight > o.conns[0]:
		return fmt.Errorf("-inflight is %d, and there are %d sockets", o.inflight, o.conns[0])
	case o.messages < 0:
		return fmt.Errorf("-messages is %d", o.messages)
	case o.size < 1 || o.size > wspeer.MaxMessage:
		return fmt.Errorf("-size is %d", o.size)
	case o.path != string(wspeer.Echo) && !o.compress():
		return fmt.Errorf("-path is %q", o.path)
	case o.reading && o.mode != "broadcast":
		return fmt.Errorf("-reading is for -mode broadcast, and the mode is %q", o.mode)
	case o.rounds < 1:
		return fmt.Errorf("-rounds is %d", o.rounds)
	case o.wait < 0:
		return fmt.Errorf("-wait is %v", o.wait)
	case len(o.servers) == 0:
		return errors.New("commands that start servers are required")
	}
	if o.messages == 0 {
		o.messages = map[string]int{"echo": 20_000, "broadcast": 10, "idle": 1}[o.mode]
	}
	if o.base == "" {
		o.base, _, _ = strings.Cut(o.servers[0], "=")
	}
	if !slices.ContainsFunc(o.servers, func(s string) bool { return strings.HasPrefix(s, o.base+"=") }) {
		return fmt.Errorf("-base %s is not a server", o.base)
	}
	return nil
}
