// Nbio is an echo server on github.com/lesismal/nbio. With -mode pool, the requests of a connection are run in order by Conn.Execute, on the pool of
// goroutines of the library.
package main

import (
	"log"
	"runtime"
	"sync"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/taskpool"

	"github.com/evmq/evmq/bench/internal/peer"
)

func main() {
	o := peer.Parse(peer.Placement)
	logging.SetLevel(logging.LevelError)
	logging.Output = log.Writer()
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{o.Addr}, NPoller: o.Loops})
	s := &server{o: &o, answer: answer}
	if o.Pool {
		// The sizes are those of the library's HTTP server.
		engine.Execute = taskpool.New(runtime.NumCPU()*1024, 1024*64).Go
		s.answer = give
	}
	engine.OnData(s.raw)
	if o.Line {
		engine.OnOpen(func(c *nbio.Conn) { c.SetSession(&input{}) })
		engine.OnData(s.lines)
	}
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	peer.Listening(address(engine.Addrs[0]))
	select {}
}

type address string

func (a address) String() string { return string(a) }

type server struct {
	o      *peer.Options
	answer func(*peer.Options, *nbio.Conn, []byte) // answers complete requests; borrows them until it returns
}

// input is an incomplete line.
type input struct{ rest []byte }

func (s *server) raw(c *nbio.Conn, data []byte) { s.answer(s.o, c, data) }

func (s *server) lines(c *nbio.Conn, data []byte) {
	in := c.Session().(*input)
	if len(in.rest) > 0 {
		in.rest = append(in.rest, data...)
		data = in.rest
	}
	n := s.o.Complete(data)
	if n > 0 {
		s.answer(s.o, c, data[:n])
	}
	in.rest = append(in.rest[:0], data[n:]...)
}

// answer answers requests. TCP_NODELAY is set by package net, with which the library accepts. A write fails if the connection is gone.
func answer(o *peer.Options, c *nbio.Conn, requests []byte) {
	for len(requests) > 0 {
		n := o.Serve(requests)
		if _, err := c.Write(requests[:n]); err != nil {
			return
		}
		requests = requests[n:]
	}
}

// A job is requests that wait for a goroutine of the pool.
type job struct {
	o        *peer.Options
	c        *nbio.Conn
	requests []byte
	run      func() // a bound method, which is made once
}

var jobs sync.Pool

func init() {
	jobs.New = func() any {
		j := &job{}
		j.run = j.answer
		return j
	}
}

// give copies requests and gives them to the pool.
func give(o *peer.Options, c *nbio.Conn, requests []byte) {
	j := jobs.Get().(*job)
	j.o, j.c, j.requests = o, c, append(j.requests[:0], requests...)
	if !c.Execute(j.run) { // the connection is closed
		j.free()
	}
}

func (j *job) answer() {
	answer(j.o, j.c, j.requests)
	j.free()
}

func (j *job) free() {
	j.c = nil
	jobs.Put(j)
}
