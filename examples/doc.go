// Package examples contains one small program for each idea. A test builds and runs each of them. The documentation of a program says what
// it shows and how to run it, for instance go doc ./examples/echo.
//
//   - timer: one-shot timers, a ticker, an idle timeout that is renewed, a timer that is cancelled
//   - signal: signals that arrive as ordinary callbacks
//   - queue: goroutines that pass messages to a loop, and a bounded queue that makes them wait
//   - handoff: a line server. A loop does the input and output, workers do the work that takes time
//
// These are servers on package server:
//
//   - hello: the smallest one
//   - echo: the two ways to answer, a Handler and Dispatch, each with bytes and with lines, with and without TLS
//   - chat: broadcasts, and members that do not read and do not delay the others
//   - smtp: a protocol with two framings, which change within the stream, and with STARTTLS
//   - proxy: pairs of connections that pause each other
//   - backend: a handler that asks another server through a pool of connections, and waits for the answer
//   - dispatcher: connections that the program accepts or dials itself, timers of connections, and answers from other goroutines
//   - later: requests that are answered when a message of another client arrives
//   - pools: slow requests with a pool of their own, and requests that are refused when they have waited for too long
//   - graceful: a program that is replaced by a new process without losing an answer
//
// These are servers on package httpd:
//
//   - httphello: a handler of package net/http
//   - httpfiles: the files of a directory, by HTTP or HTTPS, and an end that waits for transfers
//   - sse: notes by server-sent events and by long polls, with a page that connects again and misses nothing
//   - wschat: a chat over WebSocket, with a page that connects again and misses nothing
//
// A client to try the servers with, on every system that has Go:
//
//   - connect: copies standard input to a connection and the connection to standard output
package examples
