// Package peer is shared by the echo servers of bench/peers: their flags, their requests, and requests that take time.
package peer

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Options are the flags of an echo server.
type Options struct {
	Addr      string
	Pool      bool   // a request is given to a pool of goroutines; otherwise the callback of the event answers it
	Line      bool   // a request is a line; otherwise the bytes that were read at once
	Loops     int    // 0 for the library's default
	Placement string // where requests run with Pool; empty for the default
	Slow      bool   // a line such as "sleep 10ms" or "spin 1ms" takes that time
}

// A Feature is one that a library may lack.
type Feature string

// The features that are chosen by flags.
const (
	Pool      Feature = "pool"      // goroutines that handle requests
	Loops     Feature = "loops"     // a number of loops that can be chosen
	Placement Feature = "placement" // a choice for each request whether a goroutine of the pool handles it
	File      Feature = "file"      // a file that is served
)

// Parse parses the command line of a server whose library lacks some features. It ends the program if the command line is invalid.
func Parse(lacks ...Feature) Options {
	o, err := parse(os.Args[1:], os.Stderr, lacks...)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return o
}

func parse(args []string, usage io.Writer, lacks ...Feature) (o Options, err error) {
	f := flag.NewFlagSet("peer", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.Addr, "addr", "127.0.0.1:7000", "address to listen on")
	mode := f.String("mode", "loop", "loop: requests are answered in the callback of the event; pool: by a pool of goroutines")
	f.StringVar(&o.Placement, "placement", "", "with -mode pool: where requests run (adaptive, loop or workers); empty for the library's default")
	framing := f.String("framing", "raw", "what a request is: raw (the bytes that were read at once) or line")
	f.IntVar(&o.Loops, "loops", 0, "number of loops; 0 for the library's default")
	f.BoolVar(&o.Slow, "slow", false, "with -framing line: the requests \"sleep DURATION\" and \"spin DURATION\" take that time")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.Pool, o.Line = *mode == "pool", *framing == "line"
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case !o.Pool && *mode != "loop":
		return o, fmt.Errorf("unknown -mode %s", *mode)
	case !o.Line && *framing != "raw":
		return o, fmt.Errorf("unknown -framing %s", *framing)
	case o.Slow && !o.Line:
		return o, errors.New("-slow requires -framing line")
	case o.Placement != "" && !o.Pool:
		return o, errors.New("-placement requires -mode pool")
	case o.Loops < 0:
		return o, fmt.Errorf("-loops is %d", o.Loops)
	}
	for _, missing := range lacks {
		if missing == Pool && o.Pool {
			return o, errors.New("the library has no pool of goroutines: -mode pool is not available")
		}
		if missing == Placement && o.Placement != "" {
			return o, errors.New("the library does not choose where requests run: -placement is not available")
		}
		if missing == Loops && o.Loops > 0 {
			return o, errors.New("the library has no loops whose number can be chosen: -loops is not available")
		}
	}
	return o, nil
}

// Complete returns the number of bytes at the beginning of data that are complete requests.
func (o *Options) Complete(data []byte) int {
	if !o.Line {
		return len(data)
	}
	return bytes.LastIndexByte(data, '\n') + 1
}

// Serve handles the requests at the beginning of data and returns the number of bytes that are answered now, with themselves. It is 0 if no request
// is complete. A slow request ends the bytes before it, so that their answers need not wait for it.
func (o *Options) Serve(data []byte) int {
	if !o.Line {
		return len(data)
	}
	done := 0
	for done < len(data) {
		end := bytes.IndexByte(data[done:], '\n')
		if end < 0 {
			break
		}
		if o.Slow {
			if w, ok := parseWork(data[done : done+end]); ok {
				if done > 0 {
					break
				}
				w.do()
			}
		}
		done += end + 1
	}
	return done
}

// Listening reports on standard output where the server listens.
func Listening(addr fmt.Stringer) { fmt.Println("listening on", addr) }
