//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
)

// A row is a process with a loop, and what was measured in it.
type row struct {
	from, beside string
	procs        int
	waits        map[time.Duration][]time.Duration // by idle time

	child  *child.Child // nil while there is none
	loop   net.Conn     // answered by the loop
	begun  net.Conn     // a byte comes for each goroutine that begins to compute
	starts []net.Conn   // one for each goroutine: a message makes it compute. None if the loop starts them
	used   time.Time    // the process has been idle since
	number int          // of the messages, which makes each a route of its own
}

// patience is the time limit of an answer.
const patience = 30 * time.Second

// start starts the process if there is none.
func (r *row) start() (err error) {
	if r.child != nil {
		return nil
	}
	r.child, err = child.Start(nil, []string{fmt.Sprint("GOMAXPROCS=", r.procs)}, "-serve", "-from", r.from, "-beside", r.beside)
	if err != nil {
		return err
	}
	dial := func(i int) (nc net.Conn) {
		if err == nil {
			nc, err = net.Dial("tcp", r.child.Addr(i))
		}
		return nc
	}
	r.begun, r.loop = dial(0), dial(1)
	for range r.procs {
		if !startsFromLoop(r.from) {
			r.starts = append(r.starts, dial(2))
		}
	}
	if err == nil {
		err = read(r.begun, 1)
	}
	if err == nil {
		err = r.ask('e')
	}
	r.used = time.Now()
	return err
}

func (r *row) stop() (err error) {
	if r.child == nil {
		return nil
	}
	for _, nc := range append(r.starts, r.begun, r.loop) {
		if nc != nil {
			err = errors.Join(err, nc.Close())
		}
	}
	err = errors.Join(err, r.child.Stop())
	r.child, r.starts = nil, nil
	return err
}

// measure measures once: after the idle time and some requests that follow each other at once, goroutines are started. When all of them compute,
// another request is sent. The time from the start to its answer is recorded.
func (r *row) measure(idle time.Duration, requestsBefore int) error {
	if err := r.start(); err != nil {
		return err
	}
	time.Sleep(time.Until(r.used.Add(idle)))
	for range requestsBefore {
		if err := r.ask('e'); err != nil {
			return err
		}
	}
	start := time.Now()
	for _, nc := range r.starts {
		r.number++
		if _, err := fmt.Fprintln(nc, r.number); err != nil {
			return err
		}
	}
	if len(r.starts) == 0 {
		if _, err := r.loop.Write([]byte{'c'}); err != nil {
			return err
		}
	}
	if err := read(r.begun, r.procs); err != nil {
		return fmt.Errorf("the goroutines have not begun: %w", err)
	}
	if err := r.ask('e'); err != nil {
		return err
	}
	r.waits[idle] = append(r.waits[idle], time.Since(start))
	err := r.ask('s')
	r.used = time.Now()
	return err
}

// ask sends a request to the loop and waits for the answer.
func (r *row) ask(request byte) error {
	if _, err := r.loop.Write([]byte{request}); err != nil {
		return err
	}
	if err := read(r.loop, 1); err != nil {
		return fmt.Errorf("the answer to %q: %w", request, err)
	}
	return nil
}

func read(nc net.Conn, n int) error {
	if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, make([]byte, n))
	return err
}
