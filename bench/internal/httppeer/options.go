// Package httppeer is shared by the HTTP servers of bench/http: their flags and their answers.
package httppeer

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/evmq/evmq/bench/internal/peer"
)

// Options are the flags of an HTTP server.
type Options struct {
	Addr      string
	File      string // the path of the file that is answered to requests for /file; empty for none
	Loops     int    // 0 for the library's default
	Placement string // where handlers run; empty for the default
}

// Parse parses the command line of a server whose library lacks some features. It ends the program if the command line is invalid.
func Parse(lacks ...peer.Feature) Options {
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

func parse(args []string, usage io.Writer, lacks ...peer.Feature) (o Options, err error) {
	f := flag.NewFlagSet("httppeer", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.Addr, "addr", "127.0.0.1:7000", "address to listen on")
	f.StringVar(&o.File, "file", "", "file that is answered to requests for /file")
	f.IntVar(&o.Loops, "loops", 0, "number of loops; 0 for the library's default")
	f.StringVar(&o.Placement, "placement", "", "where handlers run (adaptive, loop or workers); empty for the library's default")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.Loops < 0:
		return o, fmt.Errorf("-loops is %d", o.Loops)
	}
	for _, missing := range lacks {
		if missing == peer.File && o.File != "" {
			return o, errors.New("the server has no file: -file is not available")
		}
		if missing == peer.Placement && o.Placement != "" {
			return o, errors.New("the library does not choose where handlers run: -placement is not available")
		}
		if missing == peer.Loops && o.Loops > 0 {
			return o, errors.New("the library has no loops whose number can be chosen: -loops is not available")
		}
	}
	return o, nil
}
