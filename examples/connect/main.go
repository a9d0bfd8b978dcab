// Connect is a client for line protocols. It copies standard input to a TCP connection, and the connection to standard output. The end of
// the input closes the sending half of the connection; the program ends when the server closes the other half.
//
//	go run ./examples/connect 127.0.0.1:7000
//
// It uses package net alone, because a program with one connection needs no event loop. It runs on every system that has Go.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: connect HOST:PORT")
		os.Exit(2)
	}
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		if err != nil {
			log.Fatal(err)
		}
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		log.Fatal(err)
	}
}
