//go:build linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// requestFlags are the flags that say what a request is.
type requestFlags struct {
	size    int
	framing string
	path    string
	work    string
}

// apply sets the requests of a plan.
func (f *requestFlags) apply(p *plan) (err error) {
	switch {
	case f.framing == "raw" && p.slow > 0:
		return errors.New("-slow requires -framing line or http")
	case f.framing != "http" && f.path != "":
		return errors.New("-path requires -framing http")
	case f.size < 1:
		return fmt.Errorf("-size is %d", f.size)
	}
	switch f.framing {
	case "raw":
		p.requests[quick] = []byte(strings.Repeat("x", f.size))
	case "line":
		work := cmp.Or(f.work, "sleep 10ms")
		if strings.Contains(work, "\n") {
			return fmt.Errorf("-work is %q, which is not a line", work)
		}
		p.requests[quick] = []byte(strings.Repeat("x", f.size-1) + "\n")
		p.requests[slow] = []byte(work + "\n")
	case "http":
		p.isHTTP = true
		if p.requests[quick], err = httpRequest(cmp.Or(f.path, "/")); err == nil {
			p.requests[slow], err = httpRequest(cmp.Or(f.work, "/db"))
		}
	default:
		return fmt.Errorf("unknown -framing %s", f.framing)
	}
	return err
}
