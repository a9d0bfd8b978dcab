// Net is an echo server on package net of the standard library. Each connection has a goroutine, which may block, so both modes are the same.
package main

import (
	"errors"
	"log"
	"net"
	"time"

	"github.com/evmq/evmq/bench/internal/peer"
)

// readSize is the size of the buffer of a connection, and the initial one of a connection with lines.
const readSize = 64 << 10

func main() {
	o := peer.Parse(peer.Loops, peer.Placement)
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		log.Fatal(err)
	}
	peer.Listening(ln.Addr())
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Print(err)
			time.Sleep(100 * time.Millisecond) // until a descriptor may be free
			continue
		}
		go func() {
			if err := echo(c, &o); err != nil {
				log.Print(err)
			}
		}()
	}
}

// echo serves a connection until it ends. TCP_NODELAY is set by package net.
func echo(c net.Conn, o *peer.Options) (err error) {
	defer func() { err = errors.Join(err, c.Close()) }()
	buf := make([]byte, readSize)
	have := 0 // bytes of an incomplete line
	for {
		n, err := c.Read(buf[have:])
		if err != nil {
			return nil // the client has closed or reset the connection
		}
		data := buf[:have+n]
		for len(data) > 0 {
			done := o.Serve(data)
			if done == 0 {
				break
			}
			if _, err := c.Write(data[:done]); err != nil {
				return nil
			}
			data = data[done:]
		}
		have = copy(buf, data)
		if have == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}
